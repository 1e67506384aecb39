use super::*;
use std::sync::atomic::AtomicBool;

fn pool(count: usize) -> Threads<u32> {
    Threads::start(count, &tokio::runtime::Handle::current()).expect("threads start")
}

/// Spins a turn at a time until told to stop.
fn spinner(stop: Arc<AtomicBool>) -> Work<u32> {
    Box::pin(async move {
        let mut turns = 0;
        while !stop.load(Ordering::Acquire) {
            let turn = Instant::now();
            while turn.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            turns += 1;
            tokio::task::yield_now().await;
        }
        turns
    })
}

#[tokio::test]
async fn work_finishes_while_more_guests_spin_than_there_are_threads() {
    let (pool, stop) = (pool(1), Arc::new(AtomicBool::new(false)));
    let spinners: Vec<_> = (0..4).map(|_| pool.run(spinner(stop.clone()))).collect();
    for number in 0..50 {
        assert_eq!(pool.run(Box::pin(async move { number })).await, Ok(number));
    }
    stop.store(true, Ordering::Release);
    for spinner in spinners {
        assert!(spinner.await.is_ok());
    }
}

#[tokio::test]
async fn work_that_waits_for_a_timer_holds_no_thread() {
    let pool = pool(1);
    let waits: Vec<_> = (0..64)
        .map(|_| {
            pool.run(Box::pin(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                u32::from(ran() < Duration::from_millis(40))
            }))
        })
        .collect();
    let began = Instant::now();
    for wait in waits {
        assert_eq!(wait.await, Ok(1), "waiting is not running");
    }
    assert!(began.elapsed() < Duration::from_millis(64 * 50));
}

#[tokio::test]
async fn work_goes_on_when_nobody_waits_for_its_answer() {
    let pool = pool(1);
    let (tell, told) = oneshot::channel();
    drop(pool.run(Box::pin(async move {
        tokio::task::yield_now().await;
        let _ = tell.send(());
        1
    })));
    assert_eq!(told.await, Ok(()));
}

#[tokio::test]
async fn work_that_panics_costs_nothing_but_its_own_answer() {
    let pool = pool(1);
    let broken = pool.run(Box::pin(async { panic!("planted by a test") }));
    assert!(broken.await.is_err());
    assert_eq!(pool.run(Box::pin(async { 7 })).await, Ok(7));
}

#[test]
fn another_thread_is_woken_when_those_awake_will_not_be_through_soon() {
    let micros = Duration::from_micros;
    assert!(behind(1, 0, micros(0)), "somebody has to be awake");
    assert!(!behind(5, 1, micros(10)));
    assert!(behind(11, 1, micros(10)));
    assert!(!behind(11, 2, micros(10)));
    assert!(behind(1, 1, micros(500)));
    assert!(behind(usize::MAX, 1, Duration::MAX));
}

#[tokio::test]
async fn work_behind_a_long_turn_gets_a_thread_that_sleeps_at_the_next_tick() {
    let pool = pool(2);
    let until = Instant::now() + Duration::from_secs(10);
    while lock(&pool.shared.queues).sleeping < 2 {
        assert!(Instant::now() < until, "the threads never slept");
        tokio::task::yield_now().await;
    }
    let (begun, end) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (tell, wait) = (begun.clone(), end.clone());
    let long = pool.run(Box::pin(async move {
        tell.store(true, Ordering::Release);
        while !wait.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        1
    }));
    while !begun.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    let mut behind = pool.run(Box::pin(async { 2 }));
    assert!(behind.try_recv().is_err(), "it waits for the long turn");
    let tick = pool.look();
    tick();
    let answer = tokio::time::timeout(Duration::from_secs(10), behind).await;
    end.store(true, Ordering::Release);
    assert_eq!(answer, Ok(Ok(2)));
    assert_eq!(long.await, Ok(1));
}

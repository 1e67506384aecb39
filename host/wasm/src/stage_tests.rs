use super::*;

fn before() -> Snapshot {
    Snapshot {
        version: 7,
        values: vec![
            ("total".to_owned(), b"40".to_vec()),
            ("name".to_owned(), b"Ada".to_vec()),
        ],
    }
}

fn message(queue: &str) -> Staged {
    Staged {
        broker: None,
        to: Target::Queue(queue.to_owned()),
        body: Vec::new(),
        content_type: None,
        headers: Vec::new(),
        lane: None,
    }
}

#[test]
fn a_call_sees_its_own_changes() {
    let (mut stage, before, limits) = (Stage::default(), before(), Limits::default());
    let sum = stage.increment(&before, &limits, "total".to_owned(), 2);
    assert_eq!(sum, Ok(Ok(42)));
    assert_eq!(stage.get(&before, "total"), Some(&b"42"[..]));
    stage
        .put(&limits, "name".to_owned(), None)
        .expect("within limits");
    assert_eq!(stage.get(&before, "name"), None);
    let effects = stage.into_effects(before.version);
    assert_eq!(effects.state_version, Some(7));
    assert_eq!(
        effects.state,
        vec![
            StateChange::Set("total".to_owned(), b"42".to_vec()),
            StateChange::Delete("name".to_owned()),
        ]
    );
}

#[test]
fn state_that_was_only_read_ties_the_commit_to_its_version() {
    let (mut stage, before) = (Stage::default(), before());
    assert_eq!(stage.get(&before, "absent"), None);
    assert_eq!(stage.into_effects(7).state_version, Some(7));
    assert_eq!(Stage::default().into_effects(7).state_version, None);
}

#[test]
fn what_is_not_a_whole_number_cannot_be_added_to() {
    let (mut stage, before, limits) = (Stage::default(), before(), Limits::default());
    let answer = stage.increment(&before, &limits, "name".to_owned(), 1);
    assert_eq!(
        answer,
        Ok(Err("the value is not a whole number".to_owned()))
    );
    stage
        .put(
            &limits,
            "big".to_owned(),
            Some(i64::MAX.to_string().into_bytes()),
        )
        .expect("within limits");
    let answer = stage.increment(&before, &limits, "big".to_owned(), 1);
    assert!(matches!(answer, Ok(Err(_))), "{answer:?}");
}

#[test]
fn setting_one_name_again_and_again_costs_no_memory() {
    let (mut stage, limits) = (Stage::default(), Limits::default());
    for _ in 0..1_000 {
        let value = Some(vec![0; limits.state_value]);
        stage
            .put(&limits, "same".to_owned(), value)
            .expect("within limits");
    }
    assert_eq!(stage.into_effects(0).state.len(), 1);
}

#[test]
fn state_limits_are_named_in_their_errors() {
    let (mut stage, limits) = (Stage::default(), Limits::default());
    let long = stage.put(&limits, "n".repeat(300), None);
    assert!(long.is_err_and(|text| text.contains("256")));
    let large = stage.put(&limits, "n".to_owned(), Some(vec![0; 300 << 10]));
    assert!(large.is_err_and(|text| text.contains("256 KiB")));
    let total = (0..10).try_for_each(|n| {
        let value = Some(vec![0; 200 << 10]);
        stage.put(&limits, format!("n{n}"), value)
    });
    assert!(total.is_err_and(|text| text.contains("1 MiB")));
}

#[test]
fn a_target_names_a_broker_only_when_there_is_one() {
    let brokers = vec!["main".to_owned(), "other".to_owned()];
    let to = |queue: &str| queue_target(&brokers, queue);
    assert_eq!(
        to("other:a:b"),
        (Some("other".to_owned()), Target::Queue("a:b".to_owned()))
    );
    assert_eq!(to("urn:a:b"), (None, Target::Queue("urn:a:b".to_owned())));
}

#[test]
fn names_that_no_broker_can_carry_are_refused() {
    let (mut stage, limits) = (Stage::default(), Limits::default());
    for odd in ["", "a\nb", &"q".repeat(256)] {
        assert!(stage.publish(&limits, message(odd)).is_err(), "{odd:?}");
    }
    let mut forged = message("q");
    forged.headers = vec![Header::text("X-Holdfast-Attempts", "1")];
    let answer = stage.publish(&limits, forged);
    assert!(answer.is_err_and(|text| text.contains("host's own")));
    assert!(stage.into_effects(0).is_empty());
}

#[test]
fn an_outbox_has_limits() {
    let limits = Limits {
        outbox_messages: 2,
        outbox_total: 100,
        ..Limits::default()
    };
    let mut stage = Stage::default();
    let mut large = message("q");
    large.body = vec![0; 101];
    assert!(stage.publish(&limits, large).is_err());
    assert_eq!(stage.publish(&limits, message("q")), Ok(()));
    assert_eq!(stage.publish(&limits, message("q")), Ok(()));
    assert!(stage.publish(&limits, message("q")).is_err());
}

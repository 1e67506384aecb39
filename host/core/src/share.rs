//! How the leases of a row of partitions are spread over the instances.
//!
//! Every instance sees the same list of those that are there, and computes from
//! it how many leases each may hold: as many as all others, or one more. The
//! shares of all add up to the number of partitions, so nobody has to be asked.
//! One that holds more than its share gives the surplus back; one that holds
//! less asks for what is free.

/// How many of `leases` the instance `me` may hold, when these instances are
/// there (in any order). None for one that is not among them.
#[must_use]
pub fn share(leases: usize, instances: &[u64], me: u64) -> usize {
    let Some(all) = std::num::NonZero::new(instances.len()) else {
        return 0;
    };
    if !instances.contains(&me) {
        return 0;
    }
    let before_me = instances.iter().filter(|other| **other < me).count();
    let one_more = usize::from(before_me < leases % all);
    leases / all + one_more
}

/// How many leases are to be given back by one that holds this many.
#[must_use]
pub fn surplus(held: usize, share: usize) -> usize {
    held.saturating_sub(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eight_partitions_over_three_instances_are_three_three_and_two() {
        let instances = [30, 10, 20];
        let shares = [10, 20, 30].map(|me| share(8, &instances, me));
        assert_eq!(shares, [3, 3, 2]);
    }

    #[test]
    fn a_new_instance_gets_some_although_the_others_could_hold_all() {
        // Rounding up for everybody would leave nothing for the fifth.
        let instances = [1, 2, 3, 4, 5];
        let shares = instances.map(|me| share(8, &instances, me));
        assert_eq!(shares, [2, 2, 2, 1, 1]);
    }

    #[test]
    fn one_that_is_not_there_holds_nothing() {
        assert_eq!(share(8, &[1, 2], 3), 0);
        assert_eq!(share(8, &[], 3), 0);
        assert_eq!(surplus(4, share(8, &[1, 2], 3)), 4);
    }

    proptest! {
        #[test]
        fn the_shares_of_all_are_even_and_add_up(
            leases in 0..1_100_usize,
            instances in prop::collection::btree_set(any::<u64>(), 1..40)
        ) {
            let instances: Vec<u64> = instances.into_iter().collect();
            let shares: Vec<usize> = instances.iter().map(|me| share(leases, &instances, *me)).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), leases);
            let (least, most) = (shares.iter().min(), shares.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
        }

        #[test]
        fn when_an_instance_comes_the_others_give_back_what_it_gets(
            leases in 0..200_usize,
            instances in prop::collection::btree_set(any::<u64>(), 2..20)
        ) {
            let all: Vec<u64> = instances.into_iter().collect();
            let (new, before) = all.split_last().expect("two at least");
            let given: usize = before
                .iter()
                .map(|me| surplus(share(leases, before, *me), share(leases, &all, *me)))
                .sum();
            prop_assert_eq!(given, share(leases, &all, *new));
        }
    }
}

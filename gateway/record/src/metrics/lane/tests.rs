use super::*;
use std::collections::HashSet;
use std::sync::Barrier;

type Counts = [AtomicU64; 2];

#[test]
fn no_two_living_threads_have_the_same_lane() {
    let threads = 2 * LANES_MAX;
    let all_have_asked = Barrier::new(threads);
    let ask = || {
        let lane = own();
        all_have_asked.wait();
        lane
    };
    let lanes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let with_one: Vec<usize> = lanes.iter().copied().flatten().collect();
    let distinct: HashSet<usize> = with_one.iter().copied().collect();
    assert_eq!(distinct.len(), with_one.len());
    // Other tests' threads hold some.
    assert!(with_one.iter().all(|lane| *lane < LANES_MAX) && with_one.len() <= LANES_MAX);
    assert!(lanes.contains(&None), "somebody had to share");
}

#[test]
fn nothing_is_lost_whoever_counts() {
    const EACH: u64 = 20_000;
    let lanes = Lanes::<Counts>::new();
    let count = || {
        for _ in 0..EACH {
            let here = lanes.here();
            here.add(&here.cells[0], 1);
            here.add(&here.cells[1], 3);
        }
    };
    let mut counted = 0;
    // More threads than lanes, so that some share; and again, so that lanes go from one thread to the next.
    for threads in [1, LANES_MAX + 8, 4, LANES_MAX + 8] {
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(count))));
        counted += EACH * u64::try_from(threads).unwrap();
        assert_eq!(lanes.sum(|cells| &cells[0]), counted);
        assert_eq!(lanes.sum(|cells| &cells[1]), 3 * counted);
    }
}

#[test]
fn a_thread_that_is_ending_shares() {
    struct CountsAtItsEnd(Arc<Lanes<Counts>>);
    impl Drop for CountsAtItsEnd {
        fn drop(&mut self) {
            let here = self.0.here();
            here.add(&here.cells[0], 1);
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<CountsAtItsEnd>> = const { std::cell::RefCell::new(None) };
    }
    let lanes = Arc::new(Lanes::<Counts>::new());
    for has_lane_first in [true, false] {
        let counting = Arc::clone(&lanes);
        let thread = std::thread::spawn(move || {
            if has_lane_first {
                own();
            }
            LAST.with(|last| *last.borrow_mut() = Some(CountsAtItsEnd(counting)));
            own();
        });
        thread.join().unwrap();
    }
    assert_eq!(lanes.sum(|cells| &cells[0]), 2);
}

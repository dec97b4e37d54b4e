//! A random mixture of faults, drawn from a seed: links, gateways and control APIs fail and are mended in any order and overlap.
//!
//! Decides what fails next and for how long; what may come of it is the checker's.

use super::dice::Dice;
use super::fault_proxy::{Direction, Flow};
use super::run::Run;
use super::setup::GatewaySetup;
use std::time::Duration;

/// Gateways of every kind.
pub fn any_gateways(count: usize, dice: &Dice) -> Vec<GatewaySetup> {
    let any = |number: usize| GatewaySetup {
        preloads: dice.chance(50),
        keeps_snapshot: dice.chance(60),
        // One in five, and never the first, so that there is always one that must refuse.
        serves_stale: number > 0 && dice.chance(20),
        keys_max: dice.chance(20).then_some(16),
    };
    (0..count).map(any).collect()
}

/// Breaks and mends for a while. Everything may be left broken.
pub async fn mix(run: &mut Run, time: Duration) {
    let dice = run.dice.fork();
    let end = run.recorder.now() + u64::try_from(time.as_micros()).expect("a short time");
    while run.recorder.now() < end {
        if dice.chance(60) {
            break_something(run, &dice).await;
        } else {
            mend_something(run, &dice).await;
        }
        run.go_on(dice.millis(10..250)).await;
    }
}

async fn break_something(run: &mut Run, dice: &Dice) {
    let gateway = dice.index(run.cluster.setup.gateways.len());
    let control = dice.index(run.cluster.setup.controls);
    match dice.within(0..100) {
        0..=64 => break_link(run, gateway, dice),
        65..=74 if run.cluster.gateway_runs(gateway) => run.cluster.kill_gateway(gateway),
        75..=84 if run.cluster.gateway_runs(gateway) => run.cluster.stop_gateway(gateway),
        85..=94 if run.cluster.control_runs(control) => run.cluster.kill_control(control),
        _ if run.cluster.setup.controls > 1 => run.cluster.lead(gateway, control),
        _ => break_link(run, gateway, dice),
    }
}

fn break_link(run: &Run, gateway: usize, dice: &Dice) {
    let link = &run.cluster.links[gateway];
    let direction = *dice.pick(&[Direction::ToControl, Direction::ToGateway]);
    let flow = match dice.within(0..7) {
        0 => Flow::Lose,
        1 => Flow::Keep,
        2 => Flow::Slow(dice.within(50..5_000)),
        3 => Flow::CutAfter(dice.within(1..3_000)),
        4 => {
            run.say(format!("link {gateway} is cut"));
            return link.cut();
        }
        5 => {
            run.say(format!("link {gateway} is severed"));
            return link.sever();
        }
        _ => {
            run.say(format!("link {gateway} refuses new connections"));
            return link.refuse();
        }
    };
    run.say(format!("link {gateway} {direction:?}: {flow:?}"));
    if dice.chance(30) {
        link.set_both(flow);
    } else {
        link.set(direction, flow);
    }
}

async fn mend_something(run: &mut Run, dice: &Dice) {
    for control in 0..run.cluster.setup.controls {
        if !run.cluster.control_runs(control) && dice.chance(70) {
            run.cluster.start_control(control).await;
        }
    }
    let gateway = dice.index(run.cluster.setup.gateways.len());
    if run.cluster.gateway_stands_still(gateway) {
        run.cluster.proceed_gateway(gateway);
    } else if !run.cluster.gateway_runs(gateway) {
        run.cluster.start_gateway(gateway).await;
    } else {
        run.say(format!("link {gateway} is mended"));
        run.cluster.links[gateway].heal();
        let alive = (0..run.cluster.setup.controls).find(|&control| run.cluster.control_runs(control));
        if run.cluster.setup.controls > 1
            && let Some(control) = alive
        {
            run.cluster.lead(gateway, control);
        }
    }
}

//! What the workload knows of its own keys and apps: enough to choose what to do next.
//!
//! A guess that may lag behind the fleet; what is right is judged from the history alone.

use super::dice::Dice;
use super::history::{AppNo, KeyNo};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of the keys that were ended, so many of the newest are asked for most, and so many more are asked for often: they may still be
/// known to a gateway that has heard nothing since.
const NEWEST: usize = 8;
const RECENT: usize = 60;

/// A key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its secret.
    pub secret: String,
    /// Its id.
    pub id: String,
    /// Its app.
    pub app: AppNo,
    /// It was ended, or was to be.
    pub is_ended: bool,
}

/// All keys, in the order in which they were made.
#[derive(Default)]
pub struct Book {
    pages: Mutex<Pages>,
    copy: Mutex<Pages>,
}

#[derive(Debug, Clone, Default)]
struct Pages {
    keys: Vec<Key>,
    apps: usize,
    ended_last: Vec<KeyNo>,
}

impl Book {
    /// Enters a key that was made.
    pub fn enter(&self, key: Key) -> KeyNo {
        let mut pages = self.lock();
        pages.keys.push(key);
        KeyNo(pages.keys.len() - 1)
    }

    /// The next app's number.
    pub fn next_app(&self) -> AppNo {
        let mut pages = self.lock();
        pages.apps += 1;
        AppNo(pages.apps - 1)
    }

    /// A key.
    pub fn key(&self, number: KeyNo) -> Key {
        self.lock().keys[number.0].clone()
    }

    /// Strikes a key out, before it is ended.
    pub fn strike(&self, number: KeyNo) {
        let mut pages = self.lock();
        pages.keys[number.0].is_ended = true;
        pages.ended_last.push(number);
        if pages.ended_last.len() > RECENT {
            pages.ended_last.remove(0);
        }
    }

    /// Strikes out all keys of an app.
    pub fn strike_app(&self, app: AppNo) {
        for number in self.live(app) {
            self.strike(number);
        }
    }

    /// The keys of an app that were not struck out.
    pub fn live(&self, app: AppNo) -> Vec<KeyNo> {
        let pages = self.lock();
        let keys = pages.keys.iter().enumerate();
        keys.filter(|(_, key)| key.app == app && !key.is_ended)
            .map(|(number, _)| KeyNo(number))
            .collect()
    }

    /// A key to ask for: one of those that were ended last, one that lives, or any.
    pub fn draw(&self, dice: &Dice) -> Option<KeyNo> {
        let pages = self.lock();
        if pages.keys.is_empty() {
            return None;
        }
        let ended = pages.ended_last.as_slice();
        match dice.within(0..100) {
            0..=24 if !ended.is_empty() => return Some(*dice.pick(&ended[ended.len().saturating_sub(NEWEST)..])),
            25..=49 if !ended.is_empty() => return Some(*dice.pick(ended)),
            _ => {}
        }
        if dice.chance(90) {
            // A few tries are enough to find one that lives where there are any.
            for _ in 0..8 {
                let number = dice.index(pages.keys.len());
                if !pages.keys[number].is_ended {
                    return Some(KeyNo(number));
                }
            }
        }
        Some(KeyNo(dice.index(pages.keys.len())))
    }

    /// Up to `most` keys, the newest among them and others from all along.
    pub fn sample(&self, most: usize, dice: &Dice) -> Vec<KeyNo> {
        let count = self.lock().keys.len();
        let mut all: Vec<usize> = (0..count).collect();
        while all.len() > most {
            // The newer half stays for sure.
            all.remove(dice.index(all.len().div_ceil(2)));
        }
        all.into_iter().map(KeyNo).collect()
    }

    /// Keeps a copy, as the store does.
    pub fn back_up(&self) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = self.lock().clone();
    }

    /// Goes back to the copy. Keys made since stay in the book, struck out.
    pub fn restore(&self) {
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut pages = self.lock();
        for (number, key) in pages.keys.iter_mut().enumerate() {
            key.is_ended = copy.keys.get(number).is_none_or(|key| key.is_ended);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

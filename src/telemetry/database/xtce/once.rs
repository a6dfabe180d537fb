//! Things of a file that are made of each other, such as types and containers: each is made once, none leads back to itself,
//! and no line of them is longer than a bound.

use super::LINE_MAX;
use super::element::Element;
use std::ops::ControlFlow;
use std::rc::Rc;

/// What has a line of others of its kind behind it.
pub(super) trait Line {
    /// The longest one.
    fn depth(&self) -> usize;
}

/// How to speak of them.
pub(super) struct Words {
    /// One of them.
    pub(super) one: &'static str,
    /// What to do against one that leads back to itself.
    pub(super) no_circle: &'static str,
    /// What to do against a long line.
    pub(super) no_line: &'static str,
}

#[derive(Clone, Debug)]
enum State<T> {
    New,
    Busy,
    Done(Option<Rc<T>>),
}

/// Those of one kind, by their places in the file.
pub(super) struct Once<T> {
    states: Vec<State<T>>,
    words: Words,
}

impl<T: Line> Once<T> {
    pub(super) fn new(count: usize, words: Words) -> Once<T> {
        let states = (0..count).map(|_| State::New).collect();
        Once { states, words }
    }

    /// Goes on where it is to be made now, and then to be given to [`Once::done`]. Breaks with what it is, or with none where
    /// something was said. `line` is how many there are before it.
    pub(super) fn begin(
        &mut self,
        at: usize,
        from: Element<'_>,
        line: usize,
    ) -> ControlFlow<Option<Rc<T>>> {
        let Some(state) = self.states.get_mut(at) else {
            return ControlFlow::Break(None);
        };
        let done = match state {
            State::Done(done) => Some(done.clone()),
            State::Busy => {
                let what = format!("leads back to its own {}", self.words.one);
                from.problem(what, self.words.no_circle);
                return ControlFlow::Break(None);
            }
            State::New => None,
        };
        let behind = done.iter().flatten().map(|one| one.depth());
        if line + behind.sum::<usize>() > LINE_MAX {
            let what = format!(
                "is the end of a line of more than {LINE_MAX} {}s",
                self.words.one
            );
            from.problem(what, self.words.no_line);
            return ControlFlow::Break(None);
        }
        if let Some(done) = done {
            return ControlFlow::Break(done);
        }
        *state = State::Busy;
        ControlFlow::Continue(())
    }

    /// It was made, or something was said.
    pub(super) fn done(&mut self, at: usize, made: Option<Rc<T>>) -> Option<Rc<T>> {
        self.states[at] = State::Done(made.clone());
        made
    }
}

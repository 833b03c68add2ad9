//! Room into which further pods are put.

use std::cmp::Reverse;

use super::nodes::Shape;
use crate::cluster::Load;

/// Requests and number of pods on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claims {
    load: Load,
    pods: u64,
}

impl Claims {
    pub(super) const fn is_nothing(&self) -> bool {
        self.pods == 0
    }

    pub(super) fn add(&mut self, pod: Load) {
        self.load = self.load + pod;
        self.pods = self.pods.saturating_add(1);
    }

    pub(super) const fn remove(&mut self, pod: Load) {
        let Load {
            cpu_millis,
            memory_bytes,
        } = self.load;
        self.load = Load {
            cpu_millis: cpu_millis.saturating_sub(pod.cpu_millis),
            memory_bytes: memory_bytes.saturating_sub(pod.memory_bytes),
        };
        self.pods = self.pods.saturating_sub(1);
    }
}

/// A node that takes pods of customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) shape: Shape,
    pub(super) claims: Claims,
}

impl Node {
    /// Returns true when a pod fits; what it does not ask for may be used up.
    fn takes(&self, pod: Load) -> bool {
        let Self { shape, claims } = self;
        let (after, most) = (claims.load + pod, shape.allocatable);
        let fits = |asked: u64, after: u64, most: u64| asked == 0 || after <= most;
        claims.pods < shape.most_pods
            && fits(pod.cpu_millis, after.cpu_millis, most.cpu_millis)
            && fits(pod.memory_bytes, after.memory_bytes, most.memory_bytes)
    }

    /// Returns the thousandths of its processor and of its memory that are left, added up.
    fn left(&self) -> u128 {
        let part = |claimed: u64, whole: u64| {
            let left = u128::from(whole.saturating_sub(claimed)).saturating_mul(1000);
            left.checked_div(whole.into()).unwrap_or_default()
        };
        let (claimed, whole) = (self.claims.load, self.shape.allocatable);
        part(claimed.cpu_millis, whole.cpu_millis)
            .saturating_add(part(claimed.memory_bytes, whole.memory_bytes))
    }
}

/// Room into which further pods are put, as the scheduler probably will.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(super) nodes: Vec<Node>,
}

impl Layout {
    /// Puts pods where the scheduler does by default: the largest first, each on the node with the most
    /// left. Returns false, and puts none anywhere, when one of them fits nowhere.
    pub fn place(&mut self, pods: &[Load]) -> bool {
        let mut pods = pods.to_vec();
        pods.sort_by_key(|pod| Reverse((pod.memory_bytes, pod.cpu_millis)));
        let mut placed = Vec::with_capacity(pods.len());
        for pod in pods {
            let fitting = self.nodes.iter().enumerate();
            let fitting = fitting.filter(|(_, node)| node.takes(pod));
            let Some((number, _)) = fitting.max_by_key(|(_, node)| node.left()) else {
                self.undo(placed);
                return false;
            };
            if let Some(node) = self.nodes.get_mut(number) {
                node.claims.add(pod);
            }
            placed.push((number, pod));
        }
        true
    }

    fn undo(&mut self, placed: Vec<(usize, Load)>) {
        for (number, pod) in placed {
            if let Some(node) = self.nodes.get_mut(number) {
                node.claims.remove(pod);
            }
        }
    }

    /// Returns how many times these pods fit, `most` at most.
    pub fn count(&self, pods: &[Load], most: u64) -> u64 {
        let mut layout = self.clone();
        let mut count = 0;
        while count < most && layout.place(pods) {
            count += 1;
        }
        count
    }
}

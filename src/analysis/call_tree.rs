//! The call tree: frames, who called whom, and the samples in it. Knows nothing of whose time is in it, nor of the formats
//! that a tree is written in.

use crate::model::{Frame, Nanos, SessionKey, Stack, ThreadIndex};
use std::collections::HashMap;
use std::sync::Arc;

/// What stands at a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Called {
    /// A session, an agent, a tenant, or those that are none. `is_loop`: on an event loop, else in other threads.
    Root {
        name: String,
        is_loop: bool,
    },
    Python(Arc<Frame>),
    /// `[syscall recvfrom]`, `[gil wait]`, `[gc]`, `[stopped]`.
    Native(String),
    Unresolved,
    /// The outermost frames are missing.
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// A place in the tree: a frame, called by the parent's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// None: a root. A parent's number is less than its children's.
    pub parent: Option<NodeId>,
    pub frame: FrameId,
    /// Spent here and in nothing that was called from here, nanoseconds.
    pub own: f64,
}

/// A sample, with the time that it stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// None: time that no stack was taken of.
    pub at: Option<Nanos>,
    pub node: NodeId,
    pub nanos: f64,
    /// None: of no thread that is known.
    pub thread: Option<ThreadIndex>,
    pub session: Option<SessionKey>,
}

/// Frames, and who called whom; the samples lie in it in the order of time.
#[derive(Clone, Debug, Default)]
pub struct CallTree {
    pub frames: Vec<Called>,
    pub nodes: Vec<Node>,
    pub samples: Vec<Taken>,
    frame_ids: HashMap<Called, FrameId>,
    node_ids: HashMap<(Option<NodeId>, FrameId), NodeId>,
}

impl CallTree {
    fn frame(&mut self, called: Called) -> FrameId {
        let next = FrameId(self.frames.len() as u32);
        let frames = &mut self.frames;
        *self.frame_ids.entry(called).or_insert_with_key(|called| {
            frames.push(called.clone());
            next
        })
    }

    /// The node of a frame that was called from `parent`.
    pub(super) fn node(&mut self, parent: Option<NodeId>, called: Called) -> NodeId {
        let frame = self.frame(called);
        let next = NodeId(self.nodes.len() as u32);
        let nodes = &mut self.nodes;
        *self.node_ids.entry((parent, frame)).or_insert_with(|| {
            nodes.push(Node {
                parent,
                frame,
                own: 0.0,
            });
            next
        })
    }

    /// The node at which a stack ends, below `root`.
    pub(super) fn stack(&mut self, root: Option<NodeId>, stack: Option<&Stack>, native: Option<String>) -> NodeId {
        let mut at = root;
        match stack {
            Some(stack) => {
                if stack.is_cut {
                    at = Some(self.node(at, Called::Cut));
                }
                for frame in stack.frames.iter().rev() {
                    at = Some(self.node(at, Called::Python(Arc::clone(frame))));
                }
            }
            None => at = Some(self.node(at, Called::Unresolved)),
        }
        match (native, at) {
            (Some(native), at) => self.node(at, Called::Native(native)),
            (None, Some(at)) => at,
            // A stack without frames.
            (None, None) => self.node(None, Called::Unresolved),
        }
    }

    pub(super) fn take(&mut self, taken: Taken) {
        if let Some(node) = self.nodes.get_mut(taken.node.0 as usize) {
            node.own += taken.nanos;
            self.samples.push(taken);
        }
    }

    /// The frames from the root to here.
    pub fn path(&self, node: NodeId) -> Vec<FrameId> {
        let mut path = Vec::new();
        let mut next = Some(node);
        while let Some(node) = next.and_then(|next| self.nodes.get(next.0 as usize)) {
            path.push(node.frame);
            next = node.parent;
        }
        path.reverse();
        path
    }

    pub fn called(&self, frame: FrameId) -> Option<&Called> {
        self.frames.get(frame.0 as usize)
    }

    /// Of each node, by number: whether it is on an event loop. What has no root of its own is.
    pub fn on_loops(&self) -> Vec<bool> {
        let mut on_loops: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let of_parent = node.parent.and_then(|parent| on_loops.get(parent.0 as usize));
            on_loops.push(match (of_parent, self.called(node.frame)) {
                (Some(of_parent), _) => *of_parent,
                (None, Some(Called::Root { is_loop, .. })) => *is_loop,
                (None, _) => true,
            });
        }
        on_loops
    }

    /// All of it, nanoseconds.
    pub fn total(&self) -> f64 {
        self.nodes.iter().map(|node| node.own).sum()
    }

    /// Nanoseconds below each root, in the order in which the roots were met.
    pub fn roots(&self) -> Vec<(FrameId, f64)> {
        let mut below: Vec<f64> = self.nodes.iter().map(|node| node.own).collect();
        let mut roots = Vec::new();
        for (place, node) in self.nodes.iter().enumerate().rev() {
            let sum = below.get(place).copied().unwrap_or(0.0);
            match node.parent.and_then(|parent| below.get_mut(parent.0 as usize)) {
                Some(parent) => *parent += sum,
                None => roots.push((node.frame, sum)),
            }
        }
        roots.reverse();
        roots
    }
}

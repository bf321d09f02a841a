//! Stacks as a tree: each node a frame, with what was counted in it.

use std::collections::HashMap;

/// Different frames in different places that are kept. Those of a machine that ran for days
/// are fewer; what exceeds them is counted in the frame that called it.
const MAX_NODES: usize = 1 << 22;
/// Longest name; templates have some of thousands of bytes.
const MAX_NAME_BYTES: usize = 1 << 12;

/// Index of a node in [`StackTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// Index of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NameId(u32);

/// What kind of code a frame is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum FrameKind {
    Task,
    User,
    Kernel,
    /// Without a symbol.
    Unknown,
}

#[derive(Debug)]
struct Node {
    name: NameId,
    kind: FrameKind,
    /// Counted in this very frame.
    own: u64,
    children: Vec<NodeId>,
}

/// All stacks.
#[derive(Debug)]
pub(super) struct StackTree {
    nodes: Vec<Node>,
    places: HashMap<(NodeId, NameId, FrameKind), NodeId>,
    names: Vec<Box<str>>,
    ids: HashMap<Box<str>, NameId>,
    /// Stacks that were cut short for want of room.
    pub(super) cut: u64,
}

impl StackTree {
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn new() -> Self {
        StackTree {
            nodes: vec![Node {
                name: NameId(0),
                kind: FrameKind::Task,
                own: 0,
                children: Vec::new(),
            }],
            places: HashMap::new(),
            names: vec!["all".into()],
            ids: HashMap::new(),
            cut: 0,
        }
    }

    /// The frame of that name called by `parent`. `None` if there is no more room.
    pub(super) fn child(&mut self, parent: NodeId, name: &str, kind: FrameKind) -> Option<NodeId> {
        let name = self.name_id(name);
        if let Some(id) = self.places.get(&(parent, name, kind)) {
            return Some(*id);
        }
        if self.nodes.len() >= MAX_NODES {
            self.cut += 1;
            return None;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node {
            name,
            kind,
            own: 0,
            children: Vec::new(),
        });
        self.places.insert((parent, name, kind), id);
        self.nodes[parent.0 as usize].children.push(id);
        Some(id)
    }

    pub(super) fn count(&mut self, node: NodeId, weight: u64) {
        let own = &mut self.nodes[node.0 as usize].own;
        *own = own.saturating_add(weight);
    }

    fn name_id(&mut self, name: &str) -> NameId {
        let mut end = name.len().min(MAX_NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId(self.names.len() as u32);
        self.names.push(name.into());
        self.ids.insert(name.into(), id);
        id
    }

    pub(super) fn name(&self, node: NodeId) -> &str {
        &self.names[self.nodes[node.0 as usize].name.0 as usize]
    }

    pub(super) fn kind(&self, node: NodeId) -> FrameKind {
        self.nodes[node.0 as usize].kind
    }

    pub(super) fn own(&self, node: NodeId) -> u64 {
        self.nodes[node.0 as usize].own
    }

    /// The frames called by a node, by name.
    pub(super) fn children(&self, node: NodeId) -> Vec<NodeId> {
        let mut children = self.nodes[node.0 as usize].children.clone();
        children
            .sort_by(|a, b| (self.name(*a), self.kind(*a)).cmp(&(self.name(*b), self.kind(*b))));
        children
    }

    /// For each node, what was counted in it and all it called.
    pub(super) fn totals(&self) -> Vec<u64> {
        let mut totals: Vec<u64> = self.nodes.iter().map(|n| n.own).collect();
        // A child has a greater index than its parent.
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let of_children = node.children.iter().map(|c| totals[c.0 as usize]);
            let sum = of_children.fold(totals[index], u64::saturating_add);
            totals[index] = sum;
        }
        totals
    }

    pub(super) fn index(node: NodeId) -> usize {
        node.0 as usize
    }
}

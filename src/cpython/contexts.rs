//! `contextvars`: contexts, their variables, and the hash trie (HAMT) that maps one to the other. Knows nothing of
//! sessions, nor of which task a context belongs to.
//!
//! Layouts are the same from 3.8 to 3.15 (Include/internal/pycore_context.h, pycore_hamt.h; Python/hamt.c). Nodes of a
//! HAMT never change once they are in use, so they can only be freed and reused under the reader: whoever keeps the
//! address of a leaf must check key, value and `ctx_vars` again before believing it.

use super::heap::Heap;
use super::objects::word_at;
use crate::memory::Fault;
use crate::model::Addr;

/// Bytes of a context's head that hold all of the words below.
pub const CONTEXT_HEAD: usize = 48;
/// Levels of a HAMT: 32 bits of hash, five at a time, and a collision node below.
const MOST_LEVELS: usize = 8;
/// A context with more variables than this is damage.
const MOST_VARIABLES: usize = 100_000;

/// The words of a `PyContext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextWords {
    /// The context that was current when this one was entered; NULL also for one that is not entered.
    pub previous: Addr,
    /// The HAMT of its variables.
    pub vars: Addr,
    /// Somebody runs in it. A thread's base context is made in passing (`contextvars.copy_context`, `ContextVar.set`)
    /// and never entered, so in a thread's current context this tells a step from none (Python/context.c:
    /// `context_get`, `_PyContext_Enter`).
    pub entered: bool,
}

/// A variable's value in a context, and where the trie keeps the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub variable: Addr,
    pub value: Addr,
    /// Address of the (key, value) pair in its node.
    pub leaf: Addr,
}

enum Node {
    Bitmap,
    Array,
    Collision,
}

impl Heap {
    /// The words of a context from the bytes of its head.
    pub fn context_words(&self, head: &[u8]) -> ContextWords {
        let o = &self.offsets;
        ContextWords {
            previous: Addr(word_at(head, o.context_prev as usize)),
            vars: Addr(word_at(head, o.context_vars as usize)),
            entered: head.get(o.context_entered as usize).is_some_and(|&b| b != 0),
        }
    }

    /// Reads the words of a context, after a look at its type.
    pub fn context(&self, context: Addr) -> Result<ContextWords, Fault> {
        self.expect(context, "Context")?;
        let mut head = [0; CONTEXT_HEAD];
        self.read(context, 0, &mut head)?;
        Ok(self.context_words(&head))
    }

    /// Name and hash of a `ContextVar`.
    pub fn context_variable(&self, variable: Addr) -> Result<(String, u32), Fault> {
        self.expect(variable, "ContextVar")?;
        let name = self.str(self.object(variable, self.offsets.contextvar_name)?)?;
        let hash = self.word(variable, self.offsets.contextvar_hash)?;
        Ok((name, fold(hash)))
    }

    /// All variables that the HAMT holds.
    pub fn bindings(&self, hamt: Addr) -> Result<Vec<Binding>, Fault> {
        self.expect(hamt, "hamt")?;
        let count = self.word(hamt, self.offsets.hamt_count)? as usize;
        if count > MOST_VARIABLES {
            return Err(Fault::Implausible("hamt"));
        }
        let mut found = Vec::with_capacity(count);
        let mut nodes = vec![(self.object(hamt, self.offsets.hamt_root)?, 0)];
        while let Some((node, level)) = nodes.pop() {
            if level >= MOST_LEVELS || nodes.len() + found.len() > 2 * MOST_VARIABLES {
                return Err(Fault::Implausible("hamt"));
            }
            match self.node(node)? {
                Node::Array => {
                    let children = self.bytes(node.offset(self.offsets.hamt_array_array), 32 * 8)?;
                    let children = children.chunks_exact(8).map(|c| Addr(word_at(c, 0)));
                    nodes.extend(children.filter(|c| !c.is_null()).map(|c| (c, level + 1)));
                }
                kind => {
                    for (leaf, key, value) in self.pairs(node, kind)? {
                        match key {
                            Addr::NULL => nodes.push((value, level + 1)),
                            variable => found.push(Binding { variable, value, leaf }),
                        }
                    }
                }
            }
        }
        // Also what proves the offsets of the nodes: a walk by wrong ones does not come to the same count.
        if found.len() != count {
            return Err(Fault::Implausible("hamt"));
        }
        Ok(found)
    }

    /// The value of one variable, by its hash: one or two nodes are read, whatever the number of variables.
    pub fn binding(&self, hamt: Addr, variable: Addr, hash: u32) -> Result<Option<Binding>, Fault> {
        self.binding_by(hamt, variable, hash, &mut Vec::new())
    }

    /// As `binding`; `path` gets every link from the HAMT to the leaf, and the leaf: where it stands, and its bytes. As
    /// long as all of them are the same, the value is, however often the memory behind was freed and used again: each
    /// link is part of what the one before it keeps alive.
    pub fn binding_by(
        &self,
        hamt: Addr,
        variable: Addr,
        hash: u32,
        path: &mut Vec<(Addr, Vec<u8>)>,
    ) -> Result<Option<Binding>, Fault> {
        let o = &self.offsets;
        let pair = |key: Addr, value: Addr| [key.0.to_le_bytes(), value.0.to_le_bytes()].concat();
        self.expect(hamt, "hamt")?;
        let mut node = self.object(hamt, o.hamt_root)?;
        path.push((hamt.offset(o.hamt_root), node.0.to_le_bytes().to_vec()));
        for level in 0..MOST_LEVELS as u32 {
            let bits = hash.checked_shr(5 * level).unwrap_or(0) & 31;
            let (leaf, key, value) = match self.node(node)? {
                Node::Array => {
                    let link = node.offset(o.hamt_array_array + u64::from(bits) * 8);
                    node = self.pointer(link, 0)?;
                    if node.is_null() {
                        return Ok(None);
                    }
                    path.push((link, node.0.to_le_bytes().to_vec()));
                    continue;
                }
                Node::Bitmap => {
                    let bitmap = self.half(node, o.hamt_bitmap_bits)?;
                    if bitmap & 1 << bits == 0 {
                        return Ok(None);
                    }
                    let index = (bitmap & ((1 << bits) - 1)).count_ones();
                    let leaf = node.offset(o.hamt_bitmap_array + u64::from(index) * 16);
                    (leaf, self.pointer(leaf, 0)?, self.pointer(leaf, 8)?)
                }
                Node::Collision => {
                    let pairs = self.pairs(node, Node::Collision)?;
                    let found = pairs.into_iter().find(|&(_, key, _)| key == variable);
                    return Ok(found.map(|(leaf, variable, value)| {
                        path.push((leaf, pair(variable, value)));
                        Binding { variable, value, leaf }
                    }));
                }
            };
            path.push((leaf, pair(key, value)));
            match key {
                Addr::NULL => node = value,
                key if key == variable => return Ok(Some(Binding { variable, value, leaf })),
                _ => return Ok(None),
            }
        }
        Err(Fault::Implausible("hamt"))
    }

    /// The parts of a HAMT that change if its variables do: its own words, and its root node. Address and length of
    /// each, past the reference counts.
    pub fn hamt_extent(&self, hamt: Addr) -> Result<[(Addr, usize); 2], Fault> {
        let o = &self.offsets;
        let root = self.object(hamt, o.hamt_root)?;
        let end = match self.node(root)? {
            Node::Array => o.hamt_array_array + 32 * 8,
            Node::Bitmap => o.hamt_bitmap_array + self.word(root, o.hamt_bitmap_size)?.min(64) * 8,
            Node::Collision => o.hamt_collision_array + self.word(root, o.hamt_collision_size)?.min(64) * 8,
        };
        let words = o.hamt_root.min(o.hamt_count);
        let length = o.hamt_root.max(o.hamt_count) + 8 - words;
        Ok([
            (hamt.offset(words), length as usize),
            (root.offset(8), end as usize - 8),
        ])
    }

    fn node(&self, node: Addr) -> Result<Node, Fault> {
        match &*self.type_name(node)? {
            "hamt_bitmap_node" => Ok(Node::Bitmap),
            "hamt_array_node" => Ok(Node::Array),
            "hamt_collision_node" => Ok(Node::Collision),
            _ => Err(Fault::Implausible("hamt node")),
        }
    }

    /// (address, key, value) of the pairs in a bitmap or collision node; a NULL key means that the value is a node.
    fn pairs(&self, node: Addr, kind: Node) -> Result<Vec<(Addr, Addr, Addr)>, Fault> {
        let o = &self.offsets;
        let (size, array) = match kind {
            Node::Collision => (o.hamt_collision_size, o.hamt_collision_array),
            _ => (o.hamt_bitmap_size, o.hamt_bitmap_array),
        };
        let words = self.word(node, size)?;
        // A bitmap node has at most 32 pairs; a collision node as many as keys share a hash.
        if words % 2 != 0 || words > 2 * 4096 {
            return Err(Fault::Implausible("hamt node"));
        }
        let first = node.offset(array);
        let bytes = self.bytes(first, words as usize * 8)?;
        let pairs = bytes.chunks_exact(16).enumerate();
        Ok(pairs
            .map(|(i, p)| (first.offset(i as u64 * 16), Addr(word_at(p, 0)), Addr(word_at(p, 8))))
            .collect())
    }
}

/// The 32 bits of a hash that the HAMT goes by (Python/hamt.c: `hamt_hash`).
fn fold(hash: u64) -> u32 {
    match hash as u32 ^ (hash >> 32) as u32 {
        u32::MAX => u32::MAX - 1,
        folded => folded,
    }
}

//! What comes after the end of a run: both nodes go on alone, meet again, and either agree, or one
//! of them gives way, or an operator discards what it has changed, while it crashes at any step.

use bytes::Bytes;
use hast_proto::discard::{self, Discard};
use hast_proto::primary::{DeviceRequest, Input, LocalCopy, RequestId};
use hast_proto::saved::{HEADER_LEN, Next, PIECE_HEAD_LEN, Reader};
use hast_proto::{Consistency, Offset, Role};

use super::{SECOND, Time, World, seconds};
use crate::disk::{SECTOR, Value, octets, values};

/// Requests from here on are not the client's.
pub(super) const ALONE: u64 = 1 << 40;
/// Never.
pub(super) const FOREVER: Time = 1 << 60;
const PER_EXTENT: usize = 16;

impl World {
    /// Both nodes are alone for a while, and meet again.
    pub fn part_and_meet(&mut self) {
        let first = self.primary_node().unwrap();
        let common = self.view(first);
        for node in &mut self.nodes {
            // What was to fail has not.
            (node.disk.fail_reads, node.disk.fail_writes) = (0, 0);
        }
        self.network_down_until = FOREVER;
        self.cut(true);
        self.promote(1 - first);
        self.wait("two primaries", |world| {
            world.nodes.iter().all(|node| node.primary.is_some())
        });
        let writes = [self.random.below(3), self.random.below(3)];
        self.log(|| format!("{writes:?} writes alone"));
        for (node, count) in writes.into_iter().enumerate() {
            self.write_alone(node, count);
        }
        let keeper = usize::from(self.random.chance(50));
        let other = 1 - keeper;
        let views = [self.view(0), self.view(1)];
        for (view, writes) in views.iter().zip(writes) {
            assert_eq!(*view != common, writes > 0, "what is written is there");
        }

        // One of them keeps the role, and perhaps one has counted that has no changes.
        let now = seconds(self.now);
        self.nodes[other].next_role = Some(Role::Secondary);
        let primary = self.nodes[other].primary.as_mut().unwrap();
        primary.handle(now, Input::Stop);
        self.drain(other);
        self.wait("a secondary", |world| {
            world.nodes[other].role == Role::Secondary && world.nodes[other].disk.is_idle()
        });
        let idle = match writes {
            [0, alone] if alone > 0 => Some(0),
            [alone, 0] if alone > 0 => Some(1),
            _ => None,
        };
        let counted = idle.filter(|_| self.random.chance(50));
        if let Some(node) = counted {
            self.count(
                node,
                if node == keeper {
                    Role::Primary
                } else {
                    Role::Secondary
                },
            );
        }
        self.split = [None, None];
        self.network_down_until = self.now;
        if writes[0] > 0 && writes[1] > 0 {
            self.mend(keeper, &common, &views);
            return;
        }
        self.wait("agreement", Self::agrees);
        self.seen.note(match (idle, counted) {
            (None, _) => "nobody wrote alone",
            (_, None) => "one wrote alone",
            (_, Some(node)) if node == keeper => "the primary gave way",
            (_, Some(_)) => "the secondary gave way",
        });
        assert_eq!(self.split, [None, None], "no operator is asked");
        let writer = idle.map_or(keeper, |idle| 1 - idle);
        for node in 0..2 {
            assert_eq!(
                self.view(node),
                views[writer],
                "node {node} has lost changes"
            );
        }
    }

    fn view(&self, node: usize) -> Vec<Value> {
        self.nodes[node].disk.view.clone()
    }

    fn wait(&mut self, what: &str, mut until: impl FnMut(&Self) -> bool) {
        let limit = self.now + 120 * SECOND;
        while !until(self) {
            assert!(self.now < limit, "{what}: it never comes");
            assert!(self.step(), "{what}: nothing happens any more");
        }
    }

    fn write_alone(&mut self, node: usize, count: u64) {
        for _ in 0..count {
            let id = RequestId(ALONE + self.number());
            let sector = self
                .random
                .below(self.nodes[node].disk.view.len() as u64 - 4);
            let length = usize::try_from(self.random.between(1, 4)).unwrap();
            // Not what anybody has written before.
            let data = octets(&vec![ALONE + self.number(); length]);
            let offset = Offset::new(sector * SECTOR as u64);
            let now = seconds(self.now);
            let primary = self.nodes[node].primary.as_mut().unwrap();
            primary.handle(
                now,
                Input::Request(id, DeviceRequest::Write { offset, data }),
            );
            self.drain(node);
            self.wait("a write alone", |world| world.alone.contains_key(&id));
            assert_eq!(self.alone.remove(&id), Some(true));
        }
    }

    /// What is left of a node that crashed between the end of a synchronisation, in which all that
    /// it had written alone was copied, and the agreement on that.
    fn count(&mut self, node: usize, role: Role) {
        self.crash(node, false);
        let disk = &mut self.nodes[node].disk;
        disk.metadata.counters.local += 1;
        disk.metadata.previous_role = Role::Primary;
        disk.map.fill(0);
        self.nodes[node].alive = true;
        self.set_role(node, role);
    }

    /// Both have written alone: an operator decides for `keeper`.
    fn mend(&mut self, keeper: usize, common: &[Value], views: &[Vec<Value>; 2]) {
        let other = 1 - keeper;
        self.wait("a split brain", |world| {
            world.split.iter().all(Option::is_some)
        });
        self.check_told(common, views);
        let file = loop {
            let saved = self.discard(other);
            self.check_untouched(views);
            if let Some(file) = saved {
                self.set_role(other, Role::Secondary);
                break Some(file);
            }
            // It has crashed.
            self.split = [None, None];
            self.set_role(other, Role::Secondary);
            self.wait("another contact", |world| {
                world.split.iter().all(Option::is_some) || world.agrees()
            });
            if self.agrees() {
                // It was through with it.
                break None;
            }
            self.check_untouched(views);
        };
        self.wait("agreement", Self::agrees);
        self.seen.note("discarded");
        for node in 0..2 {
            assert_eq!(self.view(node), views[keeper], "node {node}");
        }
        let published = file.or_else(|| self.published.take()).expect("a file");
        let mut restored = views[keeper].clone();
        restore(&published, &mut restored);
        assert_eq!(restored, views[other], "something discarded was not saved");
    }

    /// Each node knows what both have.
    fn check_told(&mut self, common: &[Value], views: &[Vec<Value>; 2]) {
        let told = self.split.clone().map(Option::unwrap);
        for (node, view) in views.iter().enumerate() {
            let (own, peer) = &told[node];
            assert_eq!(peer.as_ref(), Some(&told[1 - node].0), "the peer's map");
            for (sector, (then, now)) in common.iter().zip(view).enumerate() {
                let extent = sector / PER_EXTENT;
                let marked = own[extent / 8] & (1 << (extent % 8)) != 0;
                assert!(
                    then == now || marked,
                    "node {node} does not tell of {sector}"
                );
            }
        }
        self.seen.note("split brain told");
    }

    fn check_untouched(&self, views: &[Vec<Value>; 2]) {
        for (node, view) in views.iter().enumerate() {
            assert_eq!(&self.view(node), view, "node {node}");
        }
    }

    /// Discards what a node has, or crashes at any step of it. The file, if it has ended.
    fn discard(&mut self, node: usize) -> Option<Vec<u8>> {
        let now = seconds(self.now);
        let init = hast_proto::handshake::accepting::Input::Role(Role::Init);
        self.nodes[node].door.handle(now, init);
        self.drain(node);
        let (_, peer_map) = self.split[node].clone().unwrap();
        assert!(self.nodes[node].disk.is_idle());
        let before = self.nodes[node].disk.clone();
        let config = discard::Config {
            node: "n".into(),
            saved_at: 0,
            peer_map,
            piece: SECTOR << self.random.below(6),
        };
        let mut machine = Discard::new(config, self.nodes[node].provider()).unwrap();
        let crash_at = self.random.below(40);
        let (mut file, mut published) = (Vec::new(), false);
        for step in 0.. {
            let output = machine.poll_output().expect("it says how it ends");
            let crashes = step == crash_at;
            let input = match output {
                discard::Output::Disk(operation) => {
                    let ticket = self.number();
                    self.nodes[node].disk.begin(ticket, operation);
                    if crashes {
                        self.crash_while_discarding(node, &before, published);
                        return None;
                    }
                    let result = self.nodes[node].disk.end(ticket).unwrap();
                    discard::Input::Disk(result)
                }
                discard::Output::Write(pieces) => {
                    assert!(!published, "written after it was whole");
                    file.extend(pieces.concat());
                    discard::Input::Written(Ok(()))
                }
                discard::Output::Publish => {
                    published = true;
                    self.published = Some(file.clone());
                    discard::Input::Published(Ok(()))
                }
                discard::Output::Ended(ended) => {
                    ended.unwrap();
                    assert!(published);
                    return Some(file);
                }
            };
            if crashes {
                self.crash_while_discarding(node, &before, published);
                return None;
            }
            machine.handle(input);
        }
        None
    }

    fn crash_while_discarding(&mut self, node: usize, before: &crate::disk::Disk, published: bool) {
        self.crash(node, false);
        self.nodes[node].alive = true;
        let disk = &self.nodes[node].disk;
        let untouched = disk.metadata == before.metadata && disk.mark == before.mark;
        assert!(untouched || published, "discarded before it was saved");
        self.seen.note(match (published, disk.mark) {
            (false, _) => "discard: crash before the file was whole",
            (true, Consistency::Consistent) => "discard: crash before the mark",
            (true, _) if disk.metadata.counters.local > 0 => "discard: crash behind the mark",
            (true, _) => "discard: crash behind the counters",
        });
    }

    /// Whether the nodes agree, and it is on both disks.
    pub(super) fn agrees(&self) -> bool {
        let quiet = |node: &super::Node| {
            node.alive && node.disk.is_idle() && node.next_role.is_none() && !node.preparing
        };
        self.nodes.iter().all(quiet)
            && self.primary_node().is_some_and(|node| self.is_linked(node))
            && self.nodes.iter().any(|node| {
                node.primary.as_ref().is_some_and(|primary| {
                    primary.is_connected()
                        && primary.copy() == LocalCopy::Current
                        && primary.map().to_copy() == 0
                        && primary.map().busy() == 0
                })
            })
            && self
                .nodes
                .iter()
                .all(|node| node.disk.mark == Consistency::Consistent)
    }
}

/// Puts what is in a file over data.
fn restore(file: &[u8], view: &mut [Value]) {
    let (header, mut rest) = file.split_first_chunk::<HEADER_LEN>().unwrap();
    let mut reader = Reader::new(header).unwrap();
    loop {
        let (head, after) = rest.split_first_chunk::<PIECE_HEAD_LEN>().unwrap();
        rest = after;
        let (offset, data) = match reader.next(head).unwrap() {
            Next::Data(piece) => {
                let (data, after) = rest.split_at(piece.length());
                piece.verify(data).unwrap();
                rest = after;
                (piece.offset(), Bytes::copy_from_slice(data))
            }
            Next::Zeros { offset, length } => (offset, vec![0; length.to_usize().unwrap()].into()),
            Next::End { .. } => return assert!(rest.is_empty()),
        };
        let start = usize::try_from(offset.get()).unwrap() / SECTOR;
        for (index, value) in values(&data).into_iter().enumerate() {
            view[start + index] = value;
        }
    }
}

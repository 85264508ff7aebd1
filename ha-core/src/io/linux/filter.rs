//! What the kernel drops before it wakes anybody: classic BPF programs.
//!
//! Packets of protocol 112 that are neither CARP nor any VRRP in use are dropped here: versions
//! other than 2 and 3, and fewer than the 8 bytes that both have at least. So are those that
//! this machine itself sent to the group by way of its IP stack. Nobody counts them. All else,
//! a wrong TTL, checksum or vhid included, is left to the driver, whose counters an operator
//! looks at.

use libc::{
    AF_INET6, BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K,
    BPF_LD, BPF_LDX, BPF_LEN, BPF_MSH, BPF_RET, BPF_RSH, BPF_SUB, BPF_W, BPF_X, IFA_F_DEPRECATED,
    IFA_F_NODAD, IFA_F_PERMANENT, PACKET_LOOPBACK, RTM_NEWADDR, SKF_AD_OFF, SKF_AD_PKTTYPE,
};
use socket2::SockFilter;

const ACCEPT: u32 = u32::MAX;
const DROP: u32 = 0;

/// Lets nothing pass, until a socket is set up.
pub(super) fn nothing() -> [SockFilter; 1] {
    [statement(BPF_RET | BPF_K, DROP)]
}

/// For a raw IPv4 socket, whose packets begin with the IP header.
pub(super) fn advertisements_v4() -> [SockFilter; 12] {
    [
        packet_type(),
        jump(BPF_JEQ, u32::from(PACKET_LOOPBACK), 9, 0),
        // X is the length of the IP header.
        statement(BPF_LDX | BPF_B | BPF_MSH, 0),
        statement(BPF_LD | BPF_W | BPF_LEN, 0),
        statement(BPF_ALU | BPF_SUB | BPF_X, 0),
        jump(BPF_JGE, 8, 0, 5),
        statement(BPF_LD | BPF_B | BPF_IND, 0),
        statement(BPF_ALU | BPF_RSH | BPF_K, 4),
        jump(BPF_JEQ, 2, 1, 0),
        jump(BPF_JEQ, 3, 0, 1),
        statement(BPF_RET | BPF_K, ACCEPT),
        statement(BPF_RET | BPF_K, DROP),
    ]
}

/// For a raw IPv6 socket, whose packets begin after the IP header.
pub(super) fn advertisements_v6() -> [SockFilter; 10] {
    [
        packet_type(),
        jump(BPF_JEQ, u32::from(PACKET_LOOPBACK), 7, 0),
        statement(BPF_LD | BPF_W | BPF_LEN, 0),
        jump(BPF_JGE, 8, 0, 5),
        statement(BPF_LD | BPF_B | BPF_ABS, 0),
        statement(BPF_ALU | BPF_RSH | BPF_K, 4),
        jump(BPF_JEQ, 2, 1, 0),
        jump(BPF_JEQ, 3, 0, 1),
        statement(BPF_RET | BPF_K, ACCEPT),
        statement(BPF_RET | BPF_K, DROP),
    ]
}

/// For a netlink socket: no addresses that the socket of number `port` added or refreshed.
/// What it removed is heard: the kernel may have removed others along with it.
///
/// Of IPv6 addresses the kernel does not say who added them. Those that are given a new lifetime
/// four times a second are told by their flags: without duplicate address detection, deprecated,
/// and not there for good. Somebody else's are like that only if they are another instance's.
pub(super) fn not_added_by(port: u32) -> [SockFilter; 11] {
    /// Where a message says what it is,
    const TYPE_OFFSET: u32 = 4;
    /// who caused it,
    const PORT_OFFSET: u32 = 12;
    /// of which family the address is,
    const FAMILY_OFFSET: u32 = 16;
    /// and its flags.
    const FLAGS_OFFSET: u32 = 18;
    const OURS: u32 = IFA_F_NODAD | IFA_F_DEPRECATED;
    [
        // Loads are in network order, what is loaded is not.
        statement(BPF_LD | BPF_H | BPF_ABS, TYPE_OFFSET),
        jump(BPF_JEQ, u32::from(RTM_NEWADDR.to_be()), 0, 7),
        statement(BPF_LD | BPF_W | BPF_ABS, PORT_OFFSET),
        jump(BPF_JEQ, port.to_be(), 6, 0),
        statement(BPF_LD | BPF_B | BPF_ABS, FAMILY_OFFSET),
        jump(BPF_JEQ, AF_INET6.unsigned_abs(), 0, 3),
        statement(BPF_LD | BPF_B | BPF_ABS, FLAGS_OFFSET),
        statement(BPF_ALU | BPF_AND | BPF_K, OURS | IFA_F_PERMANENT),
        jump(BPF_JEQ, OURS, 1, 0),
        statement(BPF_RET | BPF_K, ACCEPT),
        statement(BPF_RET | BPF_K, DROP),
    ]
}

fn packet_type() -> SockFilter {
    // The kernel's name space of things that are not bytes of the packet.
    let offset = SKF_AD_OFF + SKF_AD_PKTTYPE;
    statement(
        BPF_LD | BPF_W | BPF_ABS,
        u32::from_ne_bytes(offset.to_ne_bytes()),
    )
}

fn statement(code: u32, operand: u32) -> SockFilter {
    instruction(code, 0, 0, operand)
}

fn jump(test: u32, operand: u32, if_so: u8, otherwise: u8) -> SockFilter {
    instruction(BPF_JMP | test | BPF_K, if_so, otherwise, operand)
}

fn instruction(code: u32, if_so: u8, otherwise: u8, operand: u32) -> SockFilter {
    // All codes are below 0x100.
    let code = u16::try_from(code).unwrap_or_default();
    SockFilter::new(code, if_so, otherwise, operand)
}

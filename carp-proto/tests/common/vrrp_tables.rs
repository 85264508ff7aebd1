//! The state tables of VRRP, as `vrrp_transitions.rs` reads them: place, happenings, outputs, state
//! and deadlines afterwards. An indented line continues the row above it.

/// RFC 9568 to the letter, which preempts by default (§6.4).
pub(crate) const RFC: &str = r#"
new | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + up + unknown + no address + demote + demote more + demote negative + force INIT + force
    BACKUP + force MASTER + settings + sent + no memory + number + source + shutdown | - | INIT
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375
new | add address | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375 down6
    3.609375
new | no carrier + interface down | demote +240 (interface down) | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
new | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
new | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

down | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + no carrier + interface down + add address + remove IPv6 + demote + demote more + demote
    negative + force INIT + force BACKUP + force MASTER + settings + sent + no memory + number +
    source | - | INIT
down | up + unknown | INIT -> BACKUP (initialization complete); demote -240 (interface up) |
    BACKUP down4 3.609375 down6 3.609375
down | third error | demote +240 (send error 65 on em0) | INIT
down | no address + shutdown | demote -240 (vhid removed) | INIT
down | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
down | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
down | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

backup | interval 0 | - | BACKUP down4 0.03609375 down6 3.359375
backup | leaving + leaving in haste + leaving, not master | - | BACKUP down4 0.609375 down6
    3.359375
backup | higher and slower + equal and slower | - | BACKUP down4 10.828125 down6 3.359375
backup | remove IPv6 | - | BACKUP down4 3.359375
backup | early + lower + lower and faster + lower while demoted + up + unknown + add address +
    demote + demote more + demote negative + force INIT + force BACKUP + settings + sent + no
    memory + number + source | - | BACKUP down4 3.359375 down6 3.359375
backup | higher over IPv6 + equal over IPv6 | - | BACKUP down4 3.359375 down6 3.609375
backup | higher + higher, reserved bits + equal from above + equal from below + owner | - | BACKUP
    down4 3.609375 down6 3.359375
backup | no carrier + interface down | BACKUP -> INIT (hardware interface down); demote +240
    (interface down) | INIT
backup | no address | BACKUP -> INIT (hardware interface up) | INIT
backup | shutdown | BACKUP -> INIT (shutdown) | INIT
backup | due | BACKUP -> MASTER (master timed out); send4 p100/100; send6 p100/100; acquire; arp;
    nd | MASTER ad 1
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 p100/100; send6
    p100/100; acquire; arp; nd | MASTER ad 1
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.359375 down6 3.359375
backup | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own |
    BACKUP down4 3.359375 down6 3.359375
backup | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    BACKUP down4 3.359375 down6 3.359375
backup | bad settings | refused: vrrpprio 0 is outside 1..=255 | BACKUP down4 3.359375 down6
    3.359375

master | leaving, not master | - | BACKUP down4 0.609375 down6 3.609375
master | early + equal over IPv6 + up + unknown + demote + demote more + demote negative + force
    INIT + force MASTER + settings + sent + no memory + number + source | - | MASTER ad 0.75
master | equal from above | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p100/100; release | BACKUP down4 3.609375 down6 3.609375
master | interval 0 | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p200/0;
    release | BACKUP down4 0.03609375 down6 0.03609375
master | higher + higher, reserved bits | MASTER -> BACKUP (more frequent advertisement received)
    by 192.0.2.9 p200/100; release | BACKUP down4 3.609375 down6 3.609375
master | higher and slower | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p200/300; release | BACKUP down4 10.828125 down6 10.828125
master | owner | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p255/100;
    release | BACKUP down4 3.609375 down6 3.609375
master | higher over IPv6 | MASTER -> BACKUP (more frequent advertisement received) by fe80::9
    p200/100; release | BACKUP down4 3.609375 down6 3.609375
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release; send4 p0/100;
    send6 p0/100 | BACKUP down4 3.609375 down6 3.609375
master | no carrier + interface down | MASTER -> INIT (hardware interface down); release; demote
    +240 (interface down) | INIT
master | no address | MASTER -> INIT (hardware interface up); release | INIT
master | shutdown | MASTER -> INIT (shutdown); release; send4 p0/100; send6 p0/100 | INIT
master | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75
master | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own |
    MASTER ad 0.75
master | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75
master | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75
master | remove IPv6 | send4 p100/100; acquire; arp | MASTER ad 1
master | due + equal from below + equal and slower + lower + lower and faster + lower while
    demoted + leaving + leaving in haste | send4 p100/100; send6 p100/100 | MASTER ad 1
master | add address | send4 p100/100; send6 p100/100; acquire; arp; nd | MASTER ad 1
"#;

/// Without preemption, a lower priority is waited for like any other.
pub(crate) const RFC_WITHOUT_PREEMPTION: &str = r#"
backup | lower and faster | - | BACKUP down4 0.3609375 down6 3.359375
backup | lower + lower while demoted | - | BACKUP down4 3.609375 down6 3.359375
"#;

/// FreeBSD 15's `carpver 3` to the letter, which does not preempt by default. Priority 0 is a low
/// one, equal priorities never end, and the reserved bits are part of the interval.
pub(crate) const FREEBSD: &str = r#"
new | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + up + no address + demote + demote more + demote negative + force INIT +
    force BACKUP + force MASTER + settings + sent + no memory + number + source + shutdown | - |
    INIT
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375
new | add address | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375 down6
    3.609375
new | unknown + no carrier + interface down | demote +240 (interface down) | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
new | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

down | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + unknown + no carrier + interface down + add address + remove IPv6 +
    demote + demote more + demote negative + force INIT + force BACKUP + force MASTER + settings +
    sent + no memory + number + source | - | INIT
down | up | INIT -> BACKUP (initialization complete); demote -240 (interface up) | BACKUP down4
    3.609375 down6 3.609375
down | third error | demote +240 (send error 65 on em0) | INIT
down | no address + shutdown | demote -240 (vhid removed) | INIT
down | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
down | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

backup | interval 0 | - | BACKUP down4 0.03609375 down6 3.359375
backup | lower and faster + leaving in haste | - | BACKUP down4 0.3609375 down6 3.359375
backup | higher and slower + equal and slower | - | BACKUP down4 10.828125 down6 3.359375
backup | higher, reserved bits | - | BACKUP down4 151.449375 down6 3.359375
backup | early + demote + demote more + demote negative + force INIT + force BACKUP + settings +
    sent + no memory + number + source | - | BACKUP down4 3.359375 down6 3.359375
backup | higher over IPv6 + equal over IPv6 | - | BACKUP down4 3.359375 down6 3.609375
backup | own source | - | BACKUP down4 3.57328125 down6 3.359375
backup | higher + equal from above + equal from below + lower + lower while demoted + leaving +
    leaving, not master + owner + echo | - | BACKUP down4 3.609375 down6 3.359375
backup | unknown + no carrier + interface down | BACKUP -> INIT (hardware interface down); demote
    +240 (interface down) | INIT
backup | no address | BACKUP -> INIT (hardware interface up) | INIT
backup | remove IPv6 | BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.609375 down6 3.359375
backup | up + add address | BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.609375 down6 3.609375
backup | shutdown | BACKUP -> INIT (shutdown) | INIT
backup | due | BACKUP -> MASTER (master timed out); send4 p100/100; send6 p100/100; arp; nd;
    acquire | MASTER ad 1
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 p100/100; send6
    p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6 3.359375
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.359375 down6 3.359375
backup | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    BACKUP down4 3.359375 down6 3.359375
backup | bad settings | refused: vrrpprio 0 is outside 1..=255 | BACKUP down4 3.359375 down6
    3.359375

master | leaving, not master | - | BACKUP down4 3.609375 down6 3.609375
master | early + equal from above + equal from below + equal over IPv6 + equal and slower + lower
    + leaving + echo + force INIT + force MASTER + settings + sent + no memory + number + source |
    - | MASTER ad 0.75 down4 3.359375 down6 3.359375
master | lower while demoted | - | MASTER ad 1 down4 3.359375 down6 3.359375
master | own source | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.5
    p101/99; release | BACKUP down4 3.57328125 down6 3.57328125
master | leaving in haste | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p0/10; release | BACKUP down4 0.3609375 down6 0.3609375
master | interval 0 | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p200/0;
    release | BACKUP down4 0.03609375 down6 0.03609375
master | higher, reserved bits | MASTER -> BACKUP (more frequent advertisement received) by
    192.0.2.9 p200/100; release | BACKUP down4 151.449375 down6 151.449375
master | higher | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p200/100;
    release | BACKUP down4 3.609375 down6 3.609375
master | higher and slower | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p200/300; release | BACKUP down4 10.828125 down6 10.828125
master | owner | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p255/100;
    release | BACKUP down4 3.609375 down6 3.609375
master | lower and faster | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p50/10; release | BACKUP down4 0.3609375 down6 0.3609375
master | higher over IPv6 | MASTER -> BACKUP (more frequent advertisement received) by fe80::9
    p200/100; release | BACKUP down4 3.609375 down6 3.609375
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release | BACKUP down4
    3.609375 down6 3.609375
master | unknown + no carrier + interface down | MASTER -> INIT (hardware interface down);
    release; demote +240 (interface down) | INIT
master | no address | MASTER -> INIT (hardware interface up) | INIT
master | remove IPv6 | MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.609375 down6 3.359375
master | up + add address | MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.609375 down6 3.609375
master | shutdown | MASTER -> INIT (shutdown); release | INIT
master | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75 down4 3.359375 down6
    3.359375
master | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75 down4 3.359375 down6 3.359375
master | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75 down4 3.359375
    down6 3.359375
master | due | send4 p100/100; send6 p100/100 | MASTER ad 1 down4 2.609375 down6 2.609375
master | demote + demote more + demote negative | send4 p100/100; send6 p100/100 | MASTER ad 1
    down4 3.359375 down6 3.359375
"#;

/// With preemption, whoever is slower or lower is replaced at once.
pub(crate) const FREEBSD_WITH_PREEMPTION: &str = r#"
backup | equal and slower | BACKUP -> MASTER (preempting a slower master) by 192.0.2.4 p100/300;
    send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6 3.359375
backup | leaving | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 p0/100; send4
    p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6 3.359375
backup | leaving, not master | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 p0/100;
    send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.609375 down6 3.359375
backup | leaving in haste | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 p0/10;
    send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6 3.359375
backup | higher, reserved bits | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9
    p200/100; send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6
    3.359375
backup | higher and slower | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 p200/300;
    send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6 3.359375
backup | lower + lower while demoted | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9
    p50/100; send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6
    3.359375
backup | lower and faster | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 p50/10;
    send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.359375 down6 3.359375

master | leaving, not master | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 p0/100;
    send4 p100/100; send6 p100/100; arp; nd; acquire | MASTER ad 1 down4 3.609375 down6 3.609375
"#;

/// The RFC with all improvements: two farewells, refused from anybody but the master; a demotion
/// lowers the priority; the link is held; rivals are told.
pub(crate) const RFC_IMPROVED: &str = r#"
new | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + up + unknown + no carrier + interface down + no address + demote + demote more + demote
    negative + force INIT + force BACKUP + force MASTER + settings + sent + no memory + number +
    source + shutdown | - | INIT
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375
new | add address | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375 down6
    3.609375
new | third error | demote +240 (send error 65 on em0) | INIT
new | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
new | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
new | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

down | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + no carrier + interface down + add address + remove IPv6 + demote + demote more + demote
    negative + force INIT + force BACKUP + force MASTER + settings + sent + no memory + number +
    source | - | INIT
down | up + unknown | INIT -> BACKUP (initialization complete); demote -240 (interface up) |
    BACKUP down4 3.609375 down6 3.609375
down | third error | demote +240 (send error 65 on em0) | INIT
down | no address + shutdown | demote -240 (vhid removed) | INIT
down | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
down | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
down | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

backup | interval 0 | - | BACKUP down4 0.03609375 down6 3.359375
backup | leaving + leaving in haste | - | BACKUP down4 0.609375 down6 3.359375
backup | higher and slower + equal and slower | - | BACKUP down4 10.828125 down6 3.359375
backup | remove IPv6 | - | BACKUP down4 3.359375
backup | early + lower + lower and faster + up + unknown + add address + demote + demote more +
    demote negative + force INIT + force BACKUP + settings + sent + no memory + number + source |
    - | BACKUP down4 3.359375 down6 3.359375
backup | higher over IPv6 + equal over IPv6 | - | BACKUP down4 3.359375 down6 3.609375
backup | higher + higher, reserved bits + equal from above + equal from below + owner | - | BACKUP
    down4 3.609375 down6 3.359375
backup | lower while demoted | - | BACKUP down4 3.921875 down6 3.359375
backup | no carrier + interface down | BACKUP -> INIT (hardware interface down); demote +240
    (interface down) | INIT
backup | no address | BACKUP -> INIT (hardware interface up) | INIT
backup | shutdown | BACKUP -> INIT (shutdown) | INIT
backup | due | BACKUP -> MASTER (master timed out); send4 p100/100; send6 p100/100; acquire; arp;
    nd | MASTER ad 1 next 0.5
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 p100/100; send6
    p100/100; acquire; arp; nd | MASTER ad 1 next 0.5
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.359375 down6 3.359375
backup | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own |
    BACKUP down4 3.359375 down6 3.359375
backup | leaving, not master | refused advertisement from 192.0.2.9: it bows out, but is not the
    master | BACKUP down4 3.609375 down6 3.359375
backup | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    BACKUP down4 3.359375 down6 3.359375
backup | bad settings | refused: vrrpprio 0 is outside 1..=255 | BACKUP down4 3.359375 down6
    3.359375

master | early + up + unknown + force INIT + force MASTER + settings + sent + no memory + number +
    source | - | MASTER ad 0.75 next 0.25
master | equal from above | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p100/100; release | BACKUP down4 3.609375 down6 3.609375
master | interval 0 | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p200/0;
    release | BACKUP down4 0.03609375 down6 0.03609375
master | higher + higher, reserved bits | MASTER -> BACKUP (more frequent advertisement received)
    by 192.0.2.9 p200/100; release | BACKUP down4 3.609375 down6 3.609375
master | higher and slower | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p200/300; release | BACKUP down4 10.828125 down6 10.828125
master | owner | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p255/100;
    release | BACKUP down4 3.609375 down6 3.609375
master | lower while demoted | MASTER -> BACKUP (more frequent advertisement received) by
    192.0.2.9 p50/100; release | BACKUP down4 3.921875 down6 3.921875
master | higher over IPv6 | MASTER -> BACKUP (more frequent advertisement received) by fe80::9
    p200/100; release | BACKUP down4 3.609375 down6 3.609375
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release; send4 p0/100;
    send6 p0/100; send4 p0/100; send6 p0/100 | BACKUP down4 3.609375 down6 3.609375
master | interface down | MASTER -> INIT (hardware interface down); release; demote +240
    (interface down) | INIT
master | no address | MASTER -> INIT (hardware interface up); release | INIT
master | shutdown | MASTER -> INIT (shutdown); release; send4 p0/100; send6 p0/100; send4 p0/100;
    send6 p0/100 | INIT
master | equal from below | another master at 192.0.2.4: prio 100 interval 100; send4 p100/100;
    send6 p100/100 | MASTER ad 1 next 0.25
master | equal and slower | another master at 192.0.2.4: prio 100 interval 300; send4 p100/100;
    send6 p100/100 | MASTER ad 1 next 0.25
master | lower | another master at 192.0.2.9: prio 50 interval 100; send4 p100/100; send6 p100/100
    | MASTER ad 1 next 0.25
master | lower and faster | another master at 192.0.2.9: prio 50 interval 10; send4 p100/100;
    send6 p100/100 | MASTER ad 1 next 0.2
master | equal over IPv6 | another master at fe80::9: prio 100 interval 100 | MASTER ad 0.75 next
    0.25
master | due | arp; nd | MASTER ad 0.5
master | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75 next 0.25
master | no carrier | link lost, waiting one interval for its return | MASTER next 1
master | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own |
    MASTER ad 0.75 next 0.25
master | leaving, not master | refused advertisement from 192.0.2.9: it bows out, but is not the
    master | BACKUP down4 3.609375 down6 3.609375
master | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75 next 0.25
master | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75 next 0.25
master | demote more | send4 p1/100; send6 p1/100 | MASTER ad 1 next 0.25
master | remove IPv6 | send4 p100/100; acquire; arp | MASTER ad 1 next 0.5
master | leaving + leaving in haste | send4 p100/100; send6 p100/100 | MASTER ad 1 next 0.25
master | add address | send4 p100/100; send6 p100/100; acquire; arp; nd | MASTER ad 1 next 0.5
master | demote negative | send4 p254/100; send6 p254/100 | MASTER ad 1 next 0.25
master | demote | send4 p90/100; send6 p90/100 | MASTER ad 1 next 0.25

held | leaving, not master | - | INIT
held | early + leaving + leaving in haste + no carrier + add address + remove IPv6 + demote +
    demote more + demote negative + force INIT + force MASTER + settings + sent + no memory +
    number + source | - | MASTER next 0.75
held | due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal from
    above + lower while demoted + owner + interval 0 + interface down + force BACKUP | MASTER ->
    INIT (hardware interface down); release; demote +240 (interface down) | INIT
held | no address | MASTER -> INIT (hardware interface up); release | INIT
held | shutdown | MASTER -> INIT (shutdown); release | INIT
held | equal from below | another master at 192.0.2.4: prio 100 interval 100 | MASTER next 0.75
held | equal and slower | another master at 192.0.2.4: prio 100 interval 300 | MASTER next 0.75
held | lower and faster | another master at 192.0.2.9: prio 50 interval 10 | MASTER next 0.2
held | lower | another master at 192.0.2.9: prio 50 interval 100 | MASTER next 0.75
held | equal over IPv6 | another master at fe80::9: prio 100 interval 100 | MASTER next 0.75
held | third error | demote +240 (send error 65 on em0) | MASTER next 0.75
held | up + unknown | link restored within one interval; send4 p100/100; send6 p100/100; acquire;
    arp; nd | MASTER ad 1 next 0.5
held | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | MASTER
    next 0.75
held | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER next 0.75
held | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER next 0.75
"#;

/// FreeBSD 15 with all improvements: likewise, and priority 0 is understood.
pub(crate) const FREEBSD_IMPROVED: &str = r#"
new | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + up + unknown + no carrier + interface down + no address + demote +
    demote more + demote negative + force INIT + force BACKUP + force MASTER + settings + sent +
    no memory + number + source + shutdown | - | INIT
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375
new | add address | INIT -> BACKUP (initialization complete) | BACKUP down4 3.609375 down6
    3.609375
new | third error | demote +240 (send error 65 on em0) | INIT
new | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
new | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

down | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + unknown + no carrier + interface down + add address + remove IPv6 +
    demote + demote more + demote negative + force INIT + force BACKUP + force MASTER + settings +
    sent + no memory + number + source | - | INIT
down | up | INIT -> BACKUP (initialization complete); demote -240 (interface up) | BACKUP down4
    3.609375 down6 3.609375
down | third error | demote +240 (send error 65 on em0) | INIT
down | no address + shutdown | demote -240 (vhid removed) | INIT
down | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
down | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

backup | interval 0 | - | BACKUP down4 0.03609375 down6 3.359375
backup | lower and faster | - | BACKUP down4 0.3609375 down6 3.359375
backup | leaving + leaving in haste | - | BACKUP down4 0.609375 down6 3.359375
backup | higher and slower + equal and slower | - | BACKUP down4 10.828125 down6 3.359375
backup | higher, reserved bits | - | BACKUP down4 151.449375 down6 3.359375
backup | remove IPv6 | - | BACKUP down4 3.359375
backup | early + up + add address + demote + demote more + demote negative + force INIT + force
    BACKUP + settings + sent + no memory + number + source | - | BACKUP down4 3.359375 down6
    3.359375
backup | higher over IPv6 + equal over IPv6 | - | BACKUP down4 3.359375 down6 3.609375
backup | own source | - | BACKUP down4 3.57328125 down6 3.359375
backup | higher + equal from above + equal from below + lower + owner + echo | - | BACKUP down4
    3.609375 down6 3.359375
backup | lower while demoted | - | BACKUP down4 3.921875 down6 3.359375
backup | unknown + no carrier + interface down | BACKUP -> INIT (hardware interface down); demote
    +240 (interface down) | INIT
backup | no address | BACKUP -> INIT (hardware interface up) | INIT
backup | shutdown | BACKUP -> INIT (shutdown) | INIT
backup | due | BACKUP -> MASTER (master timed out); send4 p100/100; send6 p100/100; acquire; arp;
    nd | MASTER ad 1 next 0.5
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 p100/100; send6
    p100/100; acquire; arp; nd | MASTER ad 1 next 0.5
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.359375 down6 3.359375
backup | leaving, not master | refused advertisement from 192.0.2.9: it bows out, but is not the
    master | BACKUP down4 3.609375 down6 3.359375
backup | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    BACKUP down4 3.359375 down6 3.359375
backup | bad settings | refused: vrrpprio 0 is outside 1..=255 | BACKUP down4 3.359375 down6
    3.359375

master | early + leaving + leaving in haste + up + force INIT + force MASTER + settings + sent +
    no memory + number + source | - | MASTER ad 0.75 next 0.25
master | own source | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.5
    p101/99; release | BACKUP down4 3.57328125 down6 3.57328125
master | interval 0 | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p200/0;
    release | BACKUP down4 0.03609375 down6 0.03609375
master | higher, reserved bits | MASTER -> BACKUP (more frequent advertisement received) by
    192.0.2.9 p200/100; release | BACKUP down4 151.449375 down6 151.449375
master | higher | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p200/100;
    release | BACKUP down4 3.609375 down6 3.609375
master | higher and slower | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p200/300; release | BACKUP down4 10.828125 down6 10.828125
master | owner | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 p255/100;
    release | BACKUP down4 3.609375 down6 3.609375
master | lower while demoted | MASTER -> BACKUP (more frequent advertisement received) by
    192.0.2.9 p50/100; release | BACKUP down4 3.921875 down6 3.921875
master | lower and faster | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9
    p50/10; release | BACKUP down4 0.3609375 down6 0.3609375
master | higher over IPv6 | MASTER -> BACKUP (more frequent advertisement received) by fe80::9
    p200/100; release | BACKUP down4 3.609375 down6 3.609375
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release; send4 p0/10;
    send6 p0/10; send4 p0/10; send6 p0/10 | BACKUP down4 3.609375 down6 3.609375
master | interface down | MASTER -> INIT (hardware interface down); release; demote +240
    (interface down) | INIT
master | no address | MASTER -> INIT (hardware interface up); release | INIT
master | shutdown | MASTER -> INIT (shutdown); release; send4 p0/10; send6 p0/10; send4 p0/10;
    send6 p0/10 | INIT
master | equal from below | another master at 192.0.2.4: prio 100 interval 100 | MASTER ad 0.75
    next 0.25
master | equal and slower | another master at 192.0.2.4: prio 100 interval 300 | MASTER ad 0.75
    next 0.25
master | equal from above | another master at 192.0.2.9: prio 100 interval 100 | MASTER ad 0.75
    next 0.25
master | lower | another master at 192.0.2.9: prio 50 interval 100 | MASTER ad 0.75 next 0.25
master | equal over IPv6 | another master at fe80::9: prio 100 interval 100 | MASTER ad 0.75 next
    0.25
master | due | arp; nd | MASTER ad 0.5
master | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75 next 0.25
master | unknown + no carrier | link lost, waiting one interval for its return | MASTER next 1
master | echo | refused advertisement from 192.0.2.5: it is an echo of our own | MASTER ad 0.75
    next 0.25
master | leaving, not master | refused advertisement from 192.0.2.9: it bows out, but is not the
    master | BACKUP down4 3.609375 down6 3.609375
master | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75 next 0.25
master | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75 next 0.25
master | demote more | send4 p1/100; send6 p1/100 | MASTER ad 1 next 0.25
master | remove IPv6 | send4 p100/100; acquire; arp | MASTER ad 1 next 0.5
master | add address | send4 p100/100; send6 p100/100; acquire; arp; nd | MASTER ad 1 next 0.5
master | demote negative | send4 p254/100; send6 p254/100 | MASTER ad 1 next 0.25
master | demote | send4 p90/100; send6 p90/100 | MASTER ad 1 next 0.25

held | leaving, not master | - | INIT
held | early + leaving + leaving in haste + unknown + no carrier + add address + remove IPv6 +
    demote + demote more + demote negative + force INIT + force MASTER + settings + sent + no
    memory + number + source | - | MASTER next 0.75
held | due + higher + higher over IPv6 + higher and slower + higher, reserved bits + lower and
    faster + lower while demoted + owner + interval 0 + own source + interface down + force BACKUP
    | MASTER -> INIT (hardware interface down); release; demote +240 (interface down) | INIT
held | no address | MASTER -> INIT (hardware interface up); release | INIT
held | shutdown | MASTER -> INIT (shutdown); release | INIT
held | equal from below | another master at 192.0.2.4: prio 100 interval 100 | MASTER next 0.75
held | equal and slower | another master at 192.0.2.4: prio 100 interval 300 | MASTER next 0.75
held | equal from above | another master at 192.0.2.9: prio 100 interval 100 | MASTER next 0.75
held | lower | another master at 192.0.2.9: prio 50 interval 100 | MASTER next 0.75
held | equal over IPv6 | another master at fe80::9: prio 100 interval 100 | MASTER next 0.75
held | third error | demote +240 (send error 65 on em0) | MASTER next 0.75
held | up | link restored within one interval; send4 p100/100; send6 p100/100; acquire; arp; nd |
    MASTER ad 1 next 0.5
held | echo | refused advertisement from 192.0.2.5: it is an echo of our own | MASTER next 0.75
held | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER next 0.75
held | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER next 0.75
"#;

/// Priority 255, to the letter: there is no BACKUP but after a step down.
pub(crate) const RFC_OWNER: &str = r#"
new | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + up + unknown + no address + demote + demote more + demote negative + force INIT + force
    BACKUP + force MASTER + settings + sent + no memory + number + source + shutdown | - | INIT
new | remove IPv6 | INIT -> MASTER (owner of the addresses); send4 p255/100; acquire; arp | MASTER
    ad 1
new | add address | INIT -> MASTER (owner of the addresses); send4 p255/100; send6 p255/100;
    acquire; arp; nd | MASTER ad 1
new | no carrier + interface down | demote +240 (interface down) | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
new | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
new | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

down | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + no carrier + interface down + add address + remove IPv6 + demote + demote more + demote
    negative + force INIT + force BACKUP + force MASTER + settings + sent + no memory + number +
    source | - | INIT
down | up + unknown | INIT -> MASTER (owner of the addresses); send4 p255/100; send6 p255/100;
    acquire; arp; nd; demote -240 (interface up) | MASTER ad 1
down | third error | demote +240 (send error 65 on em0) | INIT
down | no address + shutdown | demote -240 (vhid removed) | INIT
down | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
down | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
down | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

backup | early + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + up + unknown + demote + demote more + demote negative + force INIT + force MASTER + settings
    + sent + no memory + number + source | - | MASTER ad 0.75
backup | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release; send4 p0/100;
    send6 p0/100 | BACKUP down4 3.00390625 down6 3.00390625
backup | no carrier + interface down | MASTER -> INIT (hardware interface down); release; demote
    +240 (interface down) | INIT
backup | no address | MASTER -> INIT (hardware interface up); release | INIT
backup | shutdown | MASTER -> INIT (shutdown); release; send4 p0/100; send6 p0/100 | INIT
backup | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75
backup | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own |
    MASTER ad 0.75
backup | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75
backup | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75
backup | remove IPv6 | send4 p255/100; acquire; arp | MASTER ad 1
backup | due | send4 p255/100; send6 p255/100 | MASTER ad 1
backup | add address | send4 p255/100; send6 p255/100; acquire; arp; nd | MASTER ad 1

master | early + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + up + unknown + demote + demote more + demote negative + force INIT + force MASTER + settings
    + sent + no memory + number + source | - | MASTER ad 0.75
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release; send4 p0/100;
    send6 p0/100 | BACKUP down4 3.00390625 down6 3.00390625
master | no carrier + interface down | MASTER -> INIT (hardware interface down); release; demote
    +240 (interface down) | INIT
master | no address | MASTER -> INIT (hardware interface up); release | INIT
master | shutdown | MASTER -> INIT (shutdown); release; send4 p0/100; send6 p0/100 | INIT
master | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75
master | echo + own source | refused advertisement from 192.0.2.5: it is an echo of our own |
    MASTER ad 0.75
master | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75
master | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75
master | remove IPv6 | send4 p255/100; acquire; arp | MASTER ad 1
master | due | send4 p255/100; send6 p255/100 | MASTER ad 1
master | add address | send4 p255/100; send6 p255/100; acquire; arp; nd | MASTER ad 1
"#;

/// Priority 255 by FreeBSD: it hears nobody, and waits all the same.
pub(crate) const FREEBSD_OWNER: &str = r#"
new | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + up + no address + demote + demote more + demote negative + force INIT +
    force BACKUP + force MASTER + settings + sent + no memory + number + source + shutdown | - |
    INIT
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.00390625
new | add address | INIT -> BACKUP (initialization complete) | BACKUP down4 3.00390625 down6
    3.00390625
new | unknown + no carrier + interface down | demote +240 (interface down) | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
new | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

down | early + due + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + unknown + no carrier + interface down + add address + remove IPv6 +
    demote + demote more + demote negative + force INIT + force BACKUP + force MASTER + settings +
    sent + no memory + number + source | - | INIT
down | up | INIT -> BACKUP (initialization complete); demote -240 (interface up) | BACKUP down4
    3.00390625 down6 3.00390625
down | third error | demote +240 (send error 65 on em0) | INIT
down | no address + shutdown | demote -240 (vhid removed) | INIT
down | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    INIT
down | bad settings | refused: vrrpprio 0 is outside 1..=255 | INIT

backup | early + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + lower while demoted + leaving + leaving in haste + leaving, not master + owner + interval 0
    + echo + own source + demote + demote more + demote negative + force INIT + force BACKUP +
    settings + sent + no memory + number + source | - | BACKUP down4 2.75390625 down6 2.75390625
backup | unknown + no carrier + interface down | BACKUP -> INIT (hardware interface down); demote
    +240 (interface down) | INIT
backup | no address | BACKUP -> INIT (hardware interface up) | INIT
backup | remove IPv6 | BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.00390625 down6 2.75390625
backup | up + add address | BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.00390625 down6 3.00390625
backup | shutdown | BACKUP -> INIT (shutdown) | INIT
backup | due | BACKUP -> MASTER (master timed out); send4 p255/100; send6 p255/100; arp; nd;
    acquire | MASTER ad 1
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 p255/100; send6
    p255/100; arp; nd; acquire | MASTER ad 1 down4 2.75390625 down6 2.75390625
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 2.75390625 down6
    2.75390625
backup | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    BACKUP down4 2.75390625 down6 2.75390625
backup | bad settings | refused: vrrpprio 0 is outside 1..=255 | BACKUP down4 2.75390625 down6
    2.75390625

master | early + higher + higher over IPv6 + higher and slower + higher, reserved bits + equal
    from above + equal from below + equal over IPv6 + equal and slower + lower + lower and faster
    + leaving + leaving in haste + leaving, not master + owner + interval 0 + echo + own source +
    force INIT + force MASTER + settings + sent + no memory + number + source | - | MASTER ad 0.75
    down4 2.75390625 down6 2.75390625
master | lower while demoted | - | MASTER ad 1 down4 2.75390625 down6 2.75390625
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release | BACKUP down4
    3.00390625 down6 3.00390625
master | unknown + no carrier + interface down | MASTER -> INIT (hardware interface down);
    release; demote +240 (interface down) | INIT
master | no address | MASTER -> INIT (hardware interface up) | INIT
master | remove IPv6 | MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.00390625 down6 2.75390625
master | up + add address | MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization
    complete) | BACKUP down4 3.00390625 down6 3.00390625
master | shutdown | MASTER -> INIT (shutdown); release | INIT
master | third error | demote +240 (send error 65 on em0) | MASTER ad 0.75 down4 2.75390625 down6
    2.75390625
master | CARP | refused advertisement from 192.0.2.9: it is of another protocol than the group's |
    MASTER ad 0.75 down4 2.75390625 down6 2.75390625
master | bad settings | refused: vrrpprio 0 is outside 1..=255 | MASTER ad 0.75 down4 2.75390625
    down6 2.75390625
master | due | send4 p255/100; send6 p255/100 | MASTER ad 1 down4 2.00390625 down6 2.00390625
master | demote + demote more + demote negative | send4 p255/100; send6 p255/100 | MASTER ad 1
    down4 2.75390625 down6 2.75390625
"#;

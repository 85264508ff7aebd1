//! The state tables, as `transitions.rs` reads them: place, happenings, outputs, state and deadlines
//! afterwards. An indented line continues the row above it.

/// FreeBSD 14 and 15, to the letter (CARP §3.4).
pub(crate) const FREEBSD: &str = r#"
// Nothing runs without an address; a link that is not UP, even UNKNOWN, counts as down and
// demotes once (trap 9.26).
new | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + echo + cookie + up + no address +
    demote + demote more + demote negative + undemote + force INIT + force BACKUP +
    force MASTER + settings + sent + error + sent after errors + errors again + no memory +
    number + source + shutdown | - | INIT
new | unknown + no carrier + interface down | demote +240 (interface down) | INIT
new | add address + remove address + same addresses | INIT -> BACKUP (initialization complete)
    | BACKUP down4 3.390625 down6 3.390625
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.390625
new | remove IPv4 | INIT -> BACKUP (initialization complete) | BACKUP down6 3.390625
new | bad settings | refused: advskew 255 is outside 0..=254 | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | third sent | demote -240 (send ok on em0) | INIT

// The host is suppressed already, so it is demoted no further.
down | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + echo + cookie + unknown + no carrier +
    interface down + demote + demote more + demote negative + undemote + force INIT +
    force BACKUP + force MASTER + settings + sent + error + sent after errors + errors again +
    no memory + number + source | - | INIT
down | shutdown | demote -240 (vhid removed) | INIT
down | up | INIT -> BACKUP (initialization complete); demote -240 (interface up)
    | BACKUP down4 3.390625 down6 3.390625
down | add address + remove address + remove IPv6 + remove IPv4 + same addresses | forget | INIT
down | no address | demote -240 (vhid removed); forget | INIT
down | bad settings | refused: advskew 255 is outside 0..=254 | INIT
down | third error | demote +240 (send error 65 on em0) | INIT
down | third sent | demote -240 (send ok on em0) | INIT

// Rows "BACKUP, valid advertisement": sc is (1, 100), patience (3, 100). Only the family
// that was heard is armed again.
backup | early + advertise due + demote + demote more + demote negative + undemote +
    force INIT + force BACKUP + settings + sent + error + sent after errors + errors again +
    no memory + number + source | - | BACKUP down4 3.140625 down6 3.140625
backup | due + wake | BACKUP -> MASTER (master timed out); draw; send4 1/100 #1; draw;
    send6 1/100 #2; arp; nd; acquire | MASTER ad 1.390625
backup | down4 due | BACKUP -> MASTER (master timed out); send4 1/100 #500; send6 1/100 #501;
    arp; nd; acquire | MASTER ad 1.390625 down6 0.25
backup | down6 due | BACKUP -> MASTER (master timed out); send4 1/100 #500; send6 1/100 #501;
    arp; nd; acquire | MASTER ad 1.390625 down4 0.25
backup | better + better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 +
    equal, preempt + worse + as slow as patience + worse while demoted +
    worse while demoted, preempt + better but demoted + echo + cookie | -
    | BACKUP down4 3.390625 down6 3.140625
backup | better over IPv6 + worse over IPv6 | - | BACKUP down4 3.140625 down6 3.390625
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; send4 1/100 #501;
    send6 1/100 #502; arp; nd; acquire | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    send4 1/100 #501; send6 1/100 #502; arp; nd; acquire
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; arp; nd; acquire
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; arp; nd; acquire
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | up | BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization complete)
    | BACKUP down4 3.390625 down6 3.390625
backup | unknown + no carrier + interface down | BACKUP -> INIT (hardware interface down);
    demote +240 (interface down) | INIT
backup | add address + remove address + same addresses |
    BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization complete); forget
    | BACKUP down4 3.390625 down6 3.390625
backup | remove IPv6 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 3.390625 down6 3.140625
backup | remove IPv4 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 3.140625 down6 3.390625
backup | no address | BACKUP -> INIT (hardware interface up); forget | INIT
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); draw; send4 1/100 #1;
    draw; send6 1/100 #2; arp; nd; acquire | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bad settings | refused: advskew 255 is outside 0..=254
    | BACKUP down4 3.140625 down6 3.140625
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.140625 down6 3.140625
backup | third sent | demote -240 (send ok on em0) | BACKUP down4 3.140625 down6 3.140625
backup | shutdown | BACKUP -> INIT (shutdown) | INIT

// Rows "MASTER, valid advertisement": equal means yield (trap 9.20). The master-down timers
// run on and fire without effect.
master | early + worse + worse over IPv6 + worse, preempt + as slow as patience +
    slower than patience + bow-out + bow-out, preempt + worse and demoted, preempt +
    force INIT + force MASTER + settings + sent + error + sent after errors + errors again +
    no memory + number + source | - | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | due + advertise due | draw; send4 1/100 #3; draw; send6 1/100 #4
    | MASTER ad 1.390625 down4 2 down6 2
master | down4 due + down6 due | - | MASTER ad 0.78125
master | wake | draw; send4 1/100 #3; draw; send6 1/100 #4 | MASTER ad 1.390625
master | better + better, preempt + better but demoted + cookie |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50; release
    | BACKUP down4 3.390625 down6 3.390625
master | better over IPv6 |
    MASTER -> BACKUP (more frequent advertisement received) by fe80::9 1/50; release
    | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.3.4 |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.3.4 1/100; release
    | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.1.6 + equal, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.1.6 1/100; release
    | BACKUP down4 3.390625 down6 3.390625
master | worse while demoted + worse while demoted, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/150; release
    | BACKUP down4 3.390625 down6 3.390625
master | echo | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.5 1/100;
    release | BACKUP down4 3.390625 down6 3.390625
master | up | MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization complete)
    | BACKUP down4 3.390625 down6 3.390625
master | unknown + no carrier + interface down | MASTER -> INIT (hardware interface down);
    release; demote +240 (interface down) | INIT
master | add address + remove address + same addresses |
    MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization complete); forget
    | BACKUP down4 3.390625 down6 3.390625
master | remove IPv6 | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 3.390625 down6 3.140625
master | remove IPv4 | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 3.140625 down6 3.390625
master | no address | MASTER -> INIT (hardware interface up); forget | INIT
master | demote | draw; send4 1/110 #3; draw; send6 1/110 #4
    | MASTER ad 1.429687 down4 3.140625 down6 3.140625
master | demote more | draw; send4 1/240 #5; draw; send6 1/240 #6
    | MASTER ad 1.9375 down4 3.140625 down6 3.140625
master | demote negative | draw; send4 1/0 #3; draw; send6 1/0 #4
    | MASTER ad 1 down4 3.140625 down6 3.140625
master | undemote | draw; send4 1/100 #5; draw; send6 1/100 #6
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release
    | BACKUP down4 3.390625 down6 3.390625
master | bad settings | refused: advskew 255 is outside 0..=254
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | third error | demote +240 (send error 65 on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | third sent | demote -240 (send ok on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | shutdown | MASTER -> INIT (shutdown); release | INIT
"#;

/// What FreeBSD 10 to 13 do otherwise: a negative skew goes out wrapped, the first success
/// forgets the errors without undoing the demotion, and the routes stay when the interface goes
/// (CARP §3.1, §3.4, §3.4.1).
pub(crate) const FREEBSD_10: &str = r#"
new | third sent | - | INIT
new | errors again | demote +240 (send error 65 on em0) | INIT

down | third sent | - | INIT
down | errors again | demote +240 (send error 65 on em0) | INIT

backup | third sent | - | BACKUP down4 3.140625 down6 3.140625
backup | errors again | demote +240 (send error 65 on em0)
    | BACKUP down4 3.140625 down6 3.140625

master | third sent | - | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | unknown + no carrier + interface down | MASTER -> INIT (hardware interface down);
    demote +240 (interface down) | INIT
master | demote negative | draw; send4 1/206 #3; draw; send6 1/206 #4
    | MASTER ad 0.804688 down4 3.140625 down6 3.140625
master | errors again | demote +240 (send error 65 on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
"#;

/// OpenBSD since July 2025, to the letter (CARP §3.5). The link state of its carp interface is
/// what makes the addresses usable: UP is `acquire`, DOWN is `release`.
pub(crate) const OPENBSD: &str = r#"
// An unknown link is fine here (trap 9.26). Its own number can only come from itself
// (CARP §2.2, step 10).
new | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + up + unknown + no address + demote +
    demote more + demote negative + undemote + force INIT + force BACKUP + force MASTER +
    settings + sent + error + sent after errors + errors again + no memory + number + source +
    shutdown | - | INIT
new | echo | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
new | cookie | refused advertisement from 192.0.2.9: it is an echo of our own | INIT
new | no carrier + interface down | demote +1 (carpdev) | INIT
new | add address + remove address + same addresses | INIT -> BACKUP (initialization complete)
    | BACKUP down4 4.171875 down6 4.171875
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 4.171875
new | remove IPv4 | INIT -> BACKUP (initialization complete) | BACKUP down6 4.171875
new | bad settings | refused: advskew 255 is outside 0..=254 | INIT
new | third error | demote +1 (> snderrors) | INIT
new | third sent | demote -1 (< snd6errors) | INIT

// The list of addresses says nothing about the parent, for which the host is demoted.
down | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + no carrier + interface down + demote +
    demote more + demote negative + undemote + force INIT + force BACKUP + force MASTER +
    settings + sent + error + sent after errors + errors again + no memory + number + source +
    shutdown | - | INIT
down | echo | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
down | cookie | refused advertisement from 192.0.2.9: it is an echo of our own | INIT
down | up + unknown | INIT -> BACKUP (initialization complete); demote -1 (carpdev)
    | BACKUP down4 4.171875 down6 4.171875
down | add address + remove address + remove IPv6 + remove IPv4 + same addresses + no address |
    forget | INIT
down | bad settings | refused: advskew 255 is outside 0..=254 | INIT
down | third error | demote +1 (> snderrors) | INIT
down | third sent | demote -1 (< snd6errors) | INIT

// Three base intervals and three skews. A more demoted master is replaced regardless of
// preemption, a less demoted one never.
backup | early + advertise due + up + unknown + demote + demote more + demote negative +
    undemote + force INIT + force BACKUP + sent + error + sent after errors + errors again +
    no memory + number + source | - | BACKUP down4 3.921875 down6 3.921875
backup | due + wake | BACKUP -> MASTER (master timed out); acquire; send4 1/100 #77;
    send6 1/100 #77; arp; nd | MASTER ad 1.390625
backup | down4 due | BACKUP -> MASTER (master timed out); acquire; send4 1/100 #77;
    send6 1/100 #77; arp; nd | MASTER ad 1.390625 down6 0.25
backup | down6 due | BACKUP -> MASTER (master timed out); acquire; send4 1/100 #77;
    send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 0.25
backup | better + better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 +
    equal, preempt + worse + as slow as patience + worse while demoted +
    worse while demoted, preempt | - | BACKUP down4 4.171875 down6 3.921875
backup | better over IPv6 + worse over IPv6 | - | BACKUP down4 3.921875 down6 4.171875
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; acquire; send4 1/100 #77;
    send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 3.921875 down6 3.921875
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    acquire; send4 1/100 #77; send6 1/100 #77; arp; nd
    | MASTER ad 1.390625 down4 3.921875 down6 3.921875
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255; acquire;
    send4 1/100 #77; send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 3.921875 down6 3.921875
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    acquire; send4 1/100 #77; send6 1/100 #77; arp; nd
    | MASTER ad 1.390625 down4 3.921875 down6 3.921875
backup | better but demoted | BACKUP -> MASTER (preempting a demoted master) by 192.0.2.9 1/50;
    acquire; send4 1/100 #77; send6 1/100 #77; arp; nd
    | MASTER ad 1.390625 down4 3.921875 down6 3.921875
backup | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | BACKUP down4 3.921875 down6 3.921875
backup | cookie | refused advertisement from 192.0.2.9: it is an echo of our own
    | BACKUP down4 3.921875 down6 3.921875
backup | no carrier + interface down | BACKUP -> INIT (hardware interface down);
    demote +1 (carpdev) | INIT
backup | add address + same addresses | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 4.171875 down6 4.171875
backup | remove address | forget | BACKUP down4 4.171875 down6 4.171875
backup | remove IPv6 | forget | BACKUP down4 4.171875 down6 3.921875
backup | remove IPv4 | forget | BACKUP down4 3.921875 down6 4.171875
backup | no address | BACKUP -> INIT (hardware interface up); forget | INIT
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); acquire;
    send4 1/100 #77; send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 3.921875 down6 3.921875
backup | settings | - | BACKUP down4 6.082029 down6 6.082029
backup | bad settings | refused: advskew 255 is outside 0..=254
    | BACKUP down4 3.921875 down6 3.921875
backup | third error | demote +1 (> snderrors) | BACKUP down4 3.921875 down6 3.921875
backup | third sent | demote -1 (< snd6errors) | BACKUP down4 3.921875 down6 3.921875
backup | shutdown | BACKUP -> INIT (shutdown) | INIT

// New addresses lead through INIT, removed ones only arm the timer again. Demotion is told
// when it rises from 0.
master | early + worse + worse over IPv6 + worse, preempt + as slow as patience +
    slower than patience + bow-out + bow-out, preempt + better but demoted +
    worse and demoted, preempt + up + unknown + demote negative + force INIT + force MASTER +
    sent + error + sent after errors + errors again + no memory + number + source | -
    | MASTER ad 1.140625 down4 3.921875 down6 3.921875
master | due + advertise due | send4 1/100 #77; send6 1/100 #77
    | MASTER ad 1.390625 down4 2.78125 down6 2.78125
master | down4 due + down6 due + wake | send4 1/100 #77; send6 1/100 #77 | MASTER ad 1.390625
master | better + better, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50; release
    | BACKUP down4 4.171875 down6 4.171875
master | better over IPv6 |
    MASTER -> BACKUP (more frequent advertisement received) by fe80::9 1/50; release
    | BACKUP down4 4.171875 down6 4.171875
master | equal from 192.0.3.4 |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.3.4 1/100; release
    | BACKUP down4 4.171875 down6 4.171875
master | equal from 192.0.1.6 + equal, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.1.6 1/100; release
    | BACKUP down4 4.171875 down6 4.171875
master | worse while demoted + worse while demoted, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/150; release
    | BACKUP down4 4.171875 down6 4.171875
master | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER ad 1.140625 down4 3.921875 down6 3.921875
master | cookie | refused advertisement from 192.0.2.9: it is an echo of our own
    | MASTER ad 1.140625 down4 3.921875 down6 3.921875
master | no carrier + interface down | MASTER -> INIT (hardware interface down); release;
    demote +1 (carpdev) | INIT
master | add address + same addresses | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 4.171875 down6 4.171875
master | remove address + remove IPv6 + remove IPv4 | forget
    | MASTER ad 1.390625 down4 3.921875 down6 3.921875
master | no address | MASTER -> INIT (hardware interface up); release; forget | INIT
master | demote | send4 1/100 d10 #77; send6 1/100 d10 #77
    | MASTER ad 1.390625 down4 3.921875 down6 3.921875
master | demote more + undemote | - | MASTER ad 1.390625 down4 3.921875 down6 3.921875
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release
    | BACKUP down4 4.171875 down6 4.171875
master | settings | - | MASTER ad 2.027343 down4 3.921875 down6 3.921875
master | bad settings | refused: advskew 255 is outside 0..=254
    | MASTER ad 1.140625 down4 3.921875 down6 3.921875
master | third error | demote +1 (> snderrors)
    | MASTER ad 1.140625 down4 3.921875 down6 3.921875
master | third sent | demote -1 (< snd6errors)
    | MASTER ad 1.140625 down4 3.921875 down6 3.921875
master | shutdown | MASTER -> INIT (shutdown); release; send4 255/255 #77; send6 255/255 #77
    | INIT
"#;

/// What OpenBSD did before July 2025: three base intervals and one skew (CARP §3.2).
pub(crate) const OPENBSD_BEFORE_2025: &str = r#"
new | add address + remove address + same addresses | INIT -> BACKUP (initialization complete)
    | BACKUP down4 3.390625 down6 3.390625
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.390625
new | remove IPv4 | INIT -> BACKUP (initialization complete) | BACKUP down6 3.390625

down | up + unknown | INIT -> BACKUP (initialization complete); demote -1 (carpdev)
    | BACKUP down4 3.390625 down6 3.390625

backup | early + advertise due + up + unknown + demote + demote more + demote negative +
    undemote + force INIT + force BACKUP + sent + error + sent after errors + errors again +
    no memory + number + source | - | BACKUP down4 3.140625 down6 3.140625
backup | better + better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 +
    equal, preempt + worse + as slow as patience + worse while demoted +
    worse while demoted, preempt | - | BACKUP down4 3.390625 down6 3.140625
backup | better over IPv6 + worse over IPv6 | - | BACKUP down4 3.140625 down6 3.390625
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; acquire; send4 1/100 #77;
    send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    acquire; send4 1/100 #77; send6 1/100 #77; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255; acquire;
    send4 1/100 #77; send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    acquire; send4 1/100 #77; send6 1/100 #77; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | better but demoted | BACKUP -> MASTER (preempting a demoted master) by 192.0.2.9 1/50;
    acquire; send4 1/100 #77; send6 1/100 #77; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | BACKUP down4 3.140625 down6 3.140625
backup | cookie | refused advertisement from 192.0.2.9: it is an echo of our own
    | BACKUP down4 3.140625 down6 3.140625
backup | add address + same addresses | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 3.390625 down6 3.390625
backup | remove address | forget | BACKUP down4 3.390625 down6 3.390625
backup | remove IPv6 | forget | BACKUP down4 3.390625 down6 3.140625
backup | remove IPv4 | forget | BACKUP down4 3.140625 down6 3.390625
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); acquire;
    send4 1/100 #77; send6 1/100 #77; arp; nd | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | settings | - | BACKUP down4 6.027343 down6 6.027343
backup | bad settings | refused: advskew 255 is outside 0..=254
    | BACKUP down4 3.140625 down6 3.140625
backup | third error | demote +1 (> snderrors) | BACKUP down4 3.140625 down6 3.140625
backup | third sent | demote -1 (< snd6errors) | BACKUP down4 3.140625 down6 3.140625

master | early + worse + worse over IPv6 + worse, preempt + as slow as patience +
    slower than patience + bow-out + bow-out, preempt + better but demoted +
    worse and demoted, preempt + up + unknown + demote negative + force INIT + force MASTER +
    sent + error + sent after errors + errors again + no memory + number + source | -
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | due + advertise due | send4 1/100 #77; send6 1/100 #77
    | MASTER ad 1.390625 down4 2 down6 2
master | down4 due + down6 due | - | MASTER ad 0.78125
master | better + better, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50; release
    | BACKUP down4 3.390625 down6 3.390625
master | better over IPv6 |
    MASTER -> BACKUP (more frequent advertisement received) by fe80::9 1/50; release
    | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.3.4 |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.3.4 1/100; release
    | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.1.6 + equal, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.1.6 1/100; release
    | BACKUP down4 3.390625 down6 3.390625
master | worse while demoted + worse while demoted, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/150; release
    | BACKUP down4 3.390625 down6 3.390625
master | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | cookie | refused advertisement from 192.0.2.9: it is an echo of our own
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | add address + same addresses | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 3.390625 down6 3.390625
master | remove address + remove IPv6 + remove IPv4 | forget
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
master | demote | send4 1/100 d10 #77; send6 1/100 d10 #77
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
master | demote more + undemote | - | MASTER ad 1.390625 down4 3.140625 down6 3.140625
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release
    | BACKUP down4 3.390625 down6 3.390625
master | settings | - | MASTER ad 2.027343 down4 3.140625 down6 3.140625
master | bad settings | refused: advskew 255 is outside 0..=254
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | third error | demote +1 (> snderrors)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | third sent | demote -1 (< snd6errors)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
"#;

/// UCarp on a little-endian machine, to the letter (CARP §3.7). `acquire` is the up script,
/// `release` the down script.
pub(crate) const UCARP: &str = r#"
// The down script runs at the start, for a leftover address.
new | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + cookie + up + unknown +
    no carrier + interface down + no address + demote + demote more + demote negative +
    undemote + force INIT + force BACKUP + force MASTER + settings + sent + error +
    sent after errors + errors again + no memory + number + source + shutdown | - | INIT
new | echo | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
new | add address + remove address + same addresses | INIT -> BACKUP (initialization complete);
    release | BACKUP down4 3.390625 down6 3.390625
new | remove IPv6 | INIT -> BACKUP (initialization complete); release | BACKUP down4 3.390625
new | remove IPv4 | INIT -> BACKUP (initialization complete); release | BACKUP down6 3.390625
new | bad settings | refused: advskew 255 is outside 0..=254 | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | third sent | demote -240 (send ok on em0) | INIT

// "Interface not RUNNING: BACKUP, then sleep and look again": nothing else happens until it
// runs, above all no takeover.
down | early + due + advertise due + down4 due + down6 due + wake + no carrier +
    interface down + demote + demote more + demote negative + undemote + force INIT +
    force BACKUP + settings + sent + error + sent after errors + errors again + no memory +
    number + source + better + better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 +
    equal, preempt + worse + as slow as patience + worse while demoted +
    worse while demoted, preempt + better but demoted + cookie + better over IPv6 +
    worse over IPv6 + worse, preempt + worse and demoted, preempt + slower than patience +
    bow-out + bow-out, preempt + force MASTER | - | BACKUP
down | echo | refused advertisement from 192.0.2.5: it is an echo of our own | BACKUP
down | up + unknown | - | BACKUP down4 3.390625 down6 3.390625
down | add address + remove address + remove IPv6 + remove IPv4 + same addresses | forget
    | BACKUP
down | no address | BACKUP -> INIT (hardware interface up); forget | INIT
down | bad settings | refused: advskew 255 is outside 0..=254 | BACKUP
down | third error | demote +240 (send error 65 on em0) | BACKUP
down | third sent | demote -240 (send ok on em0) | BACKUP
down | shutdown | BACKUP -> INIT (shutdown) | INIT

// UCarp does not capture what comes from its own address (CARP §2.2, step 3).
backup | early + advertise due + up + unknown + demote + demote more + demote negative +
    undemote + force INIT + force BACKUP + settings + sent + error + sent after errors +
    errors again + no memory + number + source | - | BACKUP down4 3.140625 down6 3.140625
backup | due + wake | BACKUP -> MASTER (master timed out); acquire; arp; nd; draw;
    send4 1/100 #1; draw; send6 1/100 #2 | MASTER ad 1.390625
backup | down4 due | BACKUP -> MASTER (master timed out); acquire; arp; nd; send4 1/100 #500;
    send6 1/100 #501 | MASTER ad 1.390625 down6 0.25
backup | down6 due | BACKUP -> MASTER (master timed out); acquire; arp; nd; send4 1/100 #500;
    send6 1/100 #501 | MASTER ad 1.390625 down4 0.25
backup | better + better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 +
    equal, preempt + worse + as slow as patience + worse while demoted +
    worse while demoted, preempt + better but demoted + cookie | -
    | BACKUP down4 3.390625 down6 3.140625
backup | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | BACKUP down4 3.140625 down6 3.140625
backup | better over IPv6 + worse over IPv6 | - | BACKUP down4 3.140625 down6 3.390625
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; acquire; arp; nd;
    send4 1/100 #501; send6 1/100 #502 | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    acquire; arp; nd; send4 1/100 #501; send6 1/100 #502
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255; acquire; arp;
    nd; send4 1/100 #501; send6 1/100 #502 | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    acquire; arp; nd; send4 1/100 #501; send6 1/100 #502
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | no carrier + interface down | - | BACKUP
backup | add address + remove address + same addresses |
    BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization complete); release;
    forget | BACKUP down4 3.390625 down6 3.390625
backup | remove IPv6 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 3.390625 down6 3.140625
backup | remove IPv4 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 3.140625 down6 3.390625
backup | no address | BACKUP -> INIT (hardware interface up); forget | INIT
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); acquire; arp; nd; draw;
    send4 1/100 #1; draw; send6 1/100 #2 | MASTER ad 1.390625 down4 3.140625 down6 3.140625
backup | bad settings | refused: advskew 255 is outside 0..=254
    | BACKUP down4 3.140625 down6 3.140625
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.140625 down6 3.140625
backup | third sent | demote -240 (send ok on em0) | BACKUP down4 3.140625 down6 3.140625
backup | shutdown | BACKUP -> INIT (shutdown) | INIT

// The last byte of an address weighs most: 192.0.3.4 is lower than 192.0.2.5. The loser
// sends once more; the winner announces itself.
master | early + up + unknown + force INIT + force MASTER + settings + sent + error +
    sent after errors + errors again + no memory + number + source | -
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | due + advertise due | draw; send4 1/100 #3; draw; send6 1/100 #4
    | MASTER ad 1.390625 down4 2 down6 2
master | down4 due + down6 due | - | MASTER ad 0.78125
master | wake | draw; send4 1/100 #3; draw; send6 1/100 #4 | MASTER ad 1.390625
master | better + better, preempt + better but demoted |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50;
    send4 1/100 #501; send6 1/100 #502; release | BACKUP down4 3.390625 down6 3.390625
master | better over IPv6 |
    MASTER -> BACKUP (more frequent advertisement received) by fe80::9 1/50; send4 1/100 #501;
    send6 1/100 #502; release | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.3.4 |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.3.4 1/100;
    send4 1/100 #501; send6 1/100 #502; release | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.1.6 + equal, preempt + worse + worse over IPv6 + worse, preempt +
    as slow as patience + slower than patience + bow-out + bow-out, preempt +
    worse and demoted, preempt | arp; nd | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | worse while demoted + worse while demoted, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/150;
    send4 1/240 #501; send6 1/240 #502; release | BACKUP down4 3.390625 down6 3.390625
master | cookie | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50;
    send4 1/100 #78; send6 1/100 #79; release | BACKUP down4 3.390625 down6 3.390625
master | no carrier + interface down | MASTER -> BACKUP (hardware interface down); release
    | BACKUP
master | add address + remove address + same addresses |
    MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization complete); release;
    forget | BACKUP down4 3.390625 down6 3.390625
master | remove IPv6 | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 3.390625 down6 3.140625
master | remove IPv4 | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 3.140625 down6 3.390625
master | no address | MASTER -> INIT (hardware interface up); release; forget | INIT
master | demote | draw; send4 1/240 #3; draw; send6 1/240 #4
    | MASTER ad 1.9375 down4 3.140625 down6 3.140625
master | demote more | draw; send4 1/240 #5; draw; send6 1/240 #6
    | MASTER ad 1.9375 down4 3.140625 down6 3.140625
master | demote negative | draw; send4 1/100 #3; draw; send6 1/100 #4
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
master | undemote | draw; send4 1/100 #5; draw; send6 1/100 #6
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release | BACKUP next 3
master | bad settings | refused: advskew 255 is outside 0..=254
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | third error | demote +240 (send error 65 on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | third sent | demote -240 (send ok on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | shutdown | MASTER -> INIT (shutdown); release | INIT

// "Sleep 3 s (deaf), timers".
deaf | early + advertise due + down4 due + down6 due + up + unknown + demote + demote more +
    demote negative + undemote + force INIT + force BACKUP + settings + sent + error +
    sent after errors + errors again + no memory + number + source | - | BACKUP next 2.75
deaf | due + wake | - | BACKUP down4 3.390625 down6 3.390625
deaf | better + better, preempt + worse + worse, preempt + as slow as patience +
    slower than patience + bow-out + bow-out, preempt + worse while demoted +
    worse while demoted, preempt + better but demoted + worse and demoted, preempt + cookie |
    refused advertisement from 192.0.2.9: within the deaf time after a step down
    | BACKUP next 2.75
deaf | better over IPv6 + worse over IPv6 |
    refused advertisement from fe80::9: within the deaf time after a step down
    | BACKUP next 2.75
deaf | equal from 192.0.3.4 |
    refused advertisement from 192.0.3.4: within the deaf time after a step down
    | BACKUP next 2.75
deaf | equal from 192.0.1.6 + equal, preempt |
    refused advertisement from 192.0.1.6: within the deaf time after a step down
    | BACKUP next 2.75
deaf | echo | refused advertisement from 192.0.2.5: it is an echo of our own | BACKUP next 2.75
deaf | no carrier + interface down | - | BACKUP
deaf | add address + remove address + same addresses | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget
    | BACKUP down4 3.390625 down6 3.390625 next 2.75
deaf | remove IPv6 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget | BACKUP down4 3.390625 next 2.75
deaf | remove IPv4 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget | BACKUP down6 3.390625 next 2.75
deaf | no address | BACKUP -> INIT (hardware interface up); forget | INIT
deaf | force MASTER | BACKUP -> MASTER (user requested via ifconfig); acquire; arp; nd; draw;
    send4 1/100 #3; draw; send6 1/100 #4 | MASTER ad 1.390625
deaf | bad settings | refused: advskew 255 is outside 0..=254 | BACKUP next 2.75
deaf | third error | demote +240 (send error 65 on em0) | BACKUP next 2.75
deaf | third sent | demote -240 (send ok on em0) | BACKUP next 2.75
deaf | shutdown | BACKUP -> INIT (shutdown) | INIT
"#;

/// What UCarp does otherwise on a big-endian machine: 192.0.1.6 is the lower one (trap 9.43).
pub(crate) const UCARP_BIG_ENDIAN: &str = r#"
master | equal from 192.0.3.4 | arp; nd | MASTER ad 1.140625 down4 3.140625 down6 3.140625
master | equal from 192.0.1.6 + equal, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.1.6 1/100;
    send4 1/100 #501; send6 1/100 #502; release | BACKUP down4 3.390625 down6 3.390625
"#;

/// FreeBSD 14 with all improvements, the default (CARP §8 names the reasons).
pub(crate) const IMPROVED: &str = r#"
// As strict FreeBSD.
new | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + echo + cookie + up + no address +
    demote + demote more + demote negative + undemote + force INIT + force BACKUP +
    force MASTER + settings + sent + error + sent after errors + errors again + no memory +
    number + source + shutdown | - | INIT
// Nobody suffers for a virtual host without addresses (CARP §4.4).
new | unknown + no carrier + interface down | - | INIT
new | add address + remove address + same addresses | INIT -> BACKUP (initialization complete)
    | BACKUP down4 3.390625 down6 3.390625
new | remove IPv6 | INIT -> BACKUP (initialization complete) | BACKUP down4 3.390625
new | remove IPv4 | INIT -> BACKUP (initialization complete) | BACKUP down6 3.390625
new | bad settings | refused: advskew 255 is outside 0..=254 | INIT
new | third error | demote +240 (send error 65 on em0) | INIT
new | third sent | demote -240 (send ok on em0) | INIT

down | early + due + advertise due + down4 due + down6 due + wake + better + better over IPv6 +
    better, preempt + equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse +
    worse over IPv6 + worse, preempt + as slow as patience + slower than patience + bow-out +
    bow-out, preempt + worse while demoted + worse while demoted, preempt +
    better but demoted + worse and demoted, preempt + echo + cookie + unknown + no carrier +
    interface down + demote + demote more + demote negative + undemote + force INIT +
    force BACKUP + force MASTER + settings + sent + error + sent after errors + errors again +
    no memory + number + source | - | INIT
down | shutdown | demote -240 (vhid removed) | INIT
down | up | INIT -> BACKUP (initialization complete); demote -240 (interface up)
    | BACKUP down4 3.390625 down6 3.390625
down | add address + remove address + remove IPv6 + remove IPv4 + same addresses | forget | INIT
down | no address | demote -240 (vhid removed); forget | INIT
down | bad settings | refused: advskew 255 is outside 0..=254 | INIT
down | third error | demote +240 (send error 65 on em0) | INIT
down | third sent | demote -240 (send ok on em0) | INIT

// The dead time suits the master that was heard: three of its intervals and the own skew, if
// that is longer than the own rule. The list of addresses changes nothing else (CARP §8.4).
backup | early + advertise due + up + add address + remove address + same addresses + demote +
    demote more + demote negative + undemote + force INIT + force BACKUP + settings + sent +
    error + sent after errors + errors again + no memory + number + source | -
    | BACKUP down4 3.140625 down6 3.140625
backup | due + wake | BACKUP -> MASTER (master timed out); send4 1/100 #1; send6 1/100 #2;
    acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | down4 due + down6 due | BACKUP -> MASTER (master timed out); send4 1/100 #500;
    send6 1/100 #501; acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | better + better, preempt + better but demoted + cookie | -
    | BACKUP down4 3.976561 down6 3.140625
backup | better over IPv6 | - | BACKUP down4 3.140625 down6 3.976561
backup | equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + echo | -
    | BACKUP down4 4.5625 down6 3.140625
backup | worse + worse while demoted + worse while demoted, preempt | -
    | BACKUP down4 5.148436 down6 3.140625
backup | worse over IPv6 | - | BACKUP down4 3.140625 down6 5.148436
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; send4 1/100 #501;
    send6 1/100 #502; acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | as slow as patience | - | BACKUP down4 10.5625 down6 3.140625
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    send4 1/100 #501; send6 1/100 #502; acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | unknown + no carrier + interface down | BACKUP -> INIT (hardware interface down);
    demote +240 (interface down) | INIT
backup | remove IPv6 | - | BACKUP down4 3.140625
backup | remove IPv4 | - | BACKUP down6 3.140625
backup | no address | BACKUP -> INIT (hardware interface up); forget | INIT
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 1/100 #1;
    send6 1/100 #2; acquire; arp; nd | MASTER ad 1.390625 next 0.5
backup | bad settings | refused: advskew 255 is outside 0..=254
    | BACKUP down4 3.140625 down6 3.140625
backup | third error | demote +240 (send error 65 on em0) | BACKUP down4 3.140625 down6 3.140625
backup | third sent | demote -240 (send ok on em0) | BACKUP down4 3.140625 down6 3.140625
backup | shutdown | BACKUP -> INIT (shutdown) | INIT

// A worse master is noted, an echo dropped (§8.2), a lost carrier waited out, a change of
// addresses told and announced (§8.4), and who leaves says so twice (§8.10).
master | early + down4 due + down6 due + bow-out + bow-out, preempt + up + force INIT +
    force MASTER + settings + sent + error + sent after errors + errors again + no memory +
    number + source | - | MASTER ad 1.140625 next 0.25
master | due | arp; nd | MASTER ad 0.890625 next 0.5
master | advertise due | send4 1/100 #3; send6 1/100 #4 | MASTER ad 1.390625 next 0.109375
master | wake | arp; nd; send4 1/100 #3; send6 1/100 #4 | MASTER ad 1.390625 next 0.5
master | better + better, preempt + better but demoted + cookie |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50; release
    | BACKUP down4 3.976561 down6 3.976561
master | better over IPv6 |
    MASTER -> BACKUP (more frequent advertisement received) by fe80::9 1/50; release
    | BACKUP down4 3.976561 down6 3.976561
master | equal from 192.0.3.4 |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.3.4 1/100; release
    | BACKUP down4 4.5625 down6 4.5625
master | equal from 192.0.1.6 + equal, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.1.6 1/100; release
    | BACKUP down4 4.5625 down6 4.5625
master | worse + worse, preempt + worse and demoted, preempt |
    another master at 192.0.2.9: 1/150 | MASTER ad 1.140625 next 0.25
master | worse over IPv6 | another master at fe80::9: 1/150 | MASTER ad 1.140625 next 0.25
master | as slow as patience | another master at 192.0.2.9: 3/100 | MASTER ad 1.140625 next 0.25
master | slower than patience | another master at 192.0.2.9: 4/0 | MASTER ad 1.140625 next 0.25
master | worse while demoted + worse while demoted, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/150; release
    | BACKUP down4 5.148436 down6 5.148436
master | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER ad 1.140625 next 0.25
master | unknown + no carrier | link lost, waiting one interval for its return
    | MASTER next 1.390625
master | interface down | MASTER -> INIT (hardware interface down); release;
    demote +240 (interface down) | INIT
master | add address + remove address + same addresses | send4 1/100 #3; send6 1/100 #4;
    acquire; arp; nd | MASTER ad 1.390625 next 0.5
master | remove IPv6 | send4 1/100 #3; acquire; arp | MASTER ad 1.390625 next 0.5
master | remove IPv4 | send6 1/100 #3; acquire; nd | MASTER ad 1.390625 next 0.5
master | no address | MASTER -> INIT (hardware interface up); release; forget | INIT
master | demote | send4 1/110 #3; send6 1/110 #4 | MASTER ad 1.429687 next 0.25
master | demote more | send4 1/240 #5; send6 1/240 #6 | MASTER ad 1.9375 next 0.25
master | demote negative | send4 1/0 #3; send6 1/0 #4 | MASTER ad 1 next 0.25
master | undemote | send4 1/100 #5; send6 1/100 #6 | MASTER ad 1.390625 next 0.25
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release;
    send4 255/255 #3; send6 255/255 #4; send4 255/255 #5; send6 255/255 #6
    | BACKUP down4 3.390625 down6 3.390625
master | bad settings | refused: advskew 255 is outside 0..=254 | MASTER ad 1.140625 next 0.25
master | third error | demote +240 (send error 65 on em0) | MASTER ad 1.140625 next 0.25
master | third sent | demote -240 (send ok on em0) | MASTER ad 1.140625 next 0.25
master | shutdown | MASTER -> INIT (shutdown); release; send4 255/255 #3; send6 255/255 #4;
    send4 255/255 #5; send6 255/255 #6 | INIT

// Silent until the link returns; whatever would make a backup of it makes it give up.
held | early + advertise due + down4 due + down6 due + bow-out + bow-out, preempt + unknown +
    no carrier + add address + remove address + remove IPv6 + remove IPv4 + same addresses +
    demote + demote more + demote negative + undemote + force INIT + force MASTER + settings +
    sent + error + sent after errors + errors again + no memory + number + source | -
    | MASTER next 1.140625
held | due + wake + better + better over IPv6 + better, preempt + equal from 192.0.3.4 +
    equal from 192.0.1.6 + equal, preempt + worse while demoted +
    worse while demoted, preempt + better but demoted + cookie + interface down + force BACKUP |
    MASTER -> INIT (hardware interface down); release; demote +240 (interface down) | INIT
held | worse + worse, preempt + worse and demoted, preempt | another master at 192.0.2.9: 1/150
    | MASTER next 1.140625
held | worse over IPv6 | another master at fe80::9: 1/150 | MASTER next 1.140625
held | as slow as patience | another master at 192.0.2.9: 3/100 | MASTER next 1.140625
held | slower than patience | another master at 192.0.2.9: 4/0 | MASTER next 1.140625
held | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER next 1.140625
held | up | link restored within one interval; send4 1/100 #3; send6 1/100 #4; acquire; arp; nd
    | MASTER ad 1.390625 next 0.5
held | no address | MASTER -> INIT (hardware interface up); release; forget | INIT
held | bad settings | refused: advskew 255 is outside 0..=254 | MASTER next 1.140625
held | third error | demote +240 (send error 65 on em0) | MASTER next 1.140625
held | third sent | demote -240 (send ok on em0) | MASTER next 1.140625
held | shutdown | MASTER -> INIT (shutdown); release | INIT
"#;

/// What changes without `bow_out`.
pub(crate) const WITHOUT_BOW_OUT: &str = r#"
master | force BACKUP | MASTER -> BACKUP (user requested via ifconfig); release
    | BACKUP down4 3.390625 down6 3.390625
master | shutdown | MASTER -> INIT (shutdown); release | INIT
"#;

/// What changes without `drop_echoes`.
pub(crate) const WITHOUT_DROP_ECHOES: &str = r#"
master | echo | MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.5 1/100;
    release | BACKUP down4 4.5625 down6 4.5625

held | echo | MASTER -> INIT (hardware interface down); release; demote +240 (interface down)
    | INIT
"#;

/// What changes without `keep_state_on_address_change`.
pub(crate) const WITHOUT_KEEP_STATE_ON_ADDRESS_CHANGE: &str = r#"
backup | add address + remove address + same addresses |
    BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization complete); forget
    | BACKUP down4 3.390625 down6 3.390625
backup | remove IPv6 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down4 3.390625
backup | remove IPv4 | BACKUP -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); forget | BACKUP down6 3.390625

master | add address + remove address + same addresses |
    MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization complete); release;
    forget | BACKUP down4 3.390625 down6 3.390625
master | remove IPv6 | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget | BACKUP down4 3.390625
master | remove IPv4 | MASTER -> INIT (hardware interface up);
    INIT -> BACKUP (initialization complete); release; forget | BACKUP down6 3.390625

held | add address + remove address + remove IPv6 + remove IPv4 + same addresses | forget
    | MASTER next 1.140625
"#;

/// What changes without `ride_out_link_flaps`.
pub(crate) const WITHOUT_RIDE_OUT_LINK_FLAPS: &str = r#"
backup | up | BACKUP -> INIT (hardware interface up); INIT -> BACKUP (initialization complete)
    | BACKUP down4 3.390625 down6 3.390625

master | up | MASTER -> INIT (hardware interface up); INIT -> BACKUP (initialization complete);
    release | BACKUP down4 3.390625 down6 3.390625
master | unknown + no carrier | MASTER -> INIT (hardware interface down); release;
    demote +240 (interface down) | INIT

held | early + advertise due + down4 due + down6 due + bow-out + bow-out, preempt + unknown +
    no carrier + demote + demote more + demote negative + undemote + force INIT +
    force MASTER + settings + sent + error + sent after errors + errors again + no memory +
    number + source + due + wake + better + better over IPv6 + better, preempt +
    equal from 192.0.3.4 + equal from 192.0.1.6 + equal, preempt + worse while demoted +
    worse while demoted, preempt + better but demoted + cookie + interface down +
    force BACKUP + worse + worse, preempt + worse and demoted, preempt + worse over IPv6 +
    as slow as patience + slower than patience | - | INIT
held | shutdown | demote -240 (vhid removed) | INIT
held | add address + remove address + remove IPv6 + remove IPv4 + same addresses | forget | INIT
held | echo | refused advertisement from 192.0.2.5: it is an echo of our own | INIT
held | up | INIT -> BACKUP (initialization complete); demote -240 (interface up)
    | BACKUP down4 3.390625 down6 3.390625
held | no address | demote -240 (vhid removed); forget | INIT
held | bad settings | refused: advskew 255 is outside 0..=254 | INIT
held | third error | demote +240 (send error 65 on em0) | INIT
held | third sent | demote -240 (send ok on em0) | INIT
"#;

/// What changes without `adaptive_dead_time`.
pub(crate) const WITHOUT_ADAPTIVE_DEAD_TIME: &str = r#"
backup | better + better, preempt + better but demoted + cookie + equal from 192.0.3.4 +
    equal from 192.0.1.6 + equal, preempt + echo + worse + worse while demoted +
    worse while demoted, preempt + as slow as patience | -
    | BACKUP down4 3.390625 down6 3.140625
backup | better over IPv6 + worse over IPv6 | - | BACKUP down4 3.140625 down6 3.390625

master | better + better, preempt + better but demoted + cookie |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/50; release
    | BACKUP down4 3.390625 down6 3.390625
master | better over IPv6 |
    MASTER -> BACKUP (more frequent advertisement received) by fe80::9 1/50; release
    | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.3.4 |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.3.4 1/100; release
    | BACKUP down4 3.390625 down6 3.390625
master | equal from 192.0.1.6 + equal, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.1.6 1/100; release
    | BACKUP down4 3.390625 down6 3.390625
master | worse while demoted + worse while demoted, preempt |
    MASTER -> BACKUP (more frequent advertisement received) by 192.0.2.9 1/150; release
    | BACKUP down4 3.390625 down6 3.390625
"#;

/// What changes without `release_on_every_exit`.
pub(crate) const WITHOUT_RELEASE_ON_EVERY_EXIT: &str = r#"
master | no address | MASTER -> INIT (hardware interface up); forget | INIT

held | no address | MASTER -> INIT (hardware interface up); forget | INIT
"#;

/// What changes without `exact_demotion`.
pub(crate) const WITHOUT_EXACT_DEMOTION: &str = r#"
new | unknown + no carrier + interface down | demote +240 (interface down) | INIT
"#;

/// What changes without `drop_stale_timers`.
pub(crate) const WITHOUT_DROP_STALE_TIMERS: &str = r#"
backup | down4 due | BACKUP -> MASTER (master timed out); send4 1/100 #500; send6 1/100 #501;
    acquire; arp; nd | MASTER ad 1.390625 down6 0.835936 next 0.5
backup | down6 due | BACKUP -> MASTER (master timed out); send4 1/100 #500; send6 1/100 #501;
    acquire; arp; nd | MASTER ad 1.390625 down4 0.835936 next 0.5
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; send4 1/100 #501;
    send6 1/100 #502; acquire; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    send4 1/100 #501; send6 1/100 #502; acquire; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; acquire; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; acquire; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 1/100 #1;
    send6 1/100 #2; acquire; arp; nd | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5

master | early + bow-out + bow-out, preempt + up + force INIT + force MASTER + settings +
    sent + error + sent after errors + errors again + no memory + number + source | -
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | down4 due + down6 due | - | MASTER ad 0.78125
master | due | arp; nd | MASTER ad 0.890625 down4 2.890625 down6 2.890625 next 0.5
master | advertise due | send4 1/100 #3; send6 1/100 #4
    | MASTER ad 1.390625 down4 2 down6 2 next 0.109375
master | worse + worse, preempt + worse and demoted, preempt |
    another master at 192.0.2.9: 1/150
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | worse over IPv6 | another master at fe80::9: 1/150
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | as slow as patience | another master at 192.0.2.9: 3/100
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | slower than patience | another master at 192.0.2.9: 4/0
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | unknown + no carrier | link lost, waiting one interval for its return
    | MASTER down4 3.140625 down6 3.140625 next 1.390625
master | add address + remove address + same addresses | send4 1/100 #3; send6 1/100 #4;
    acquire; arp; nd | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
master | remove IPv6 | send4 1/100 #3; acquire; arp
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
master | remove IPv4 | send6 1/100 #3; acquire; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
master | demote | send4 1/110 #3; send6 1/110 #4
    | MASTER ad 1.429687 down4 3.140625 down6 3.140625 next 0.25
master | demote more | send4 1/240 #5; send6 1/240 #6
    | MASTER ad 1.9375 down4 3.140625 down6 3.140625 next 0.25
master | demote negative | send4 1/0 #3; send6 1/0 #4
    | MASTER ad 1 down4 3.140625 down6 3.140625 next 0.25
master | undemote | send4 1/100 #5; send6 1/100 #6
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.25
master | bad settings | refused: advskew 255 is outside 0..=254
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | third error | demote +240 (send error 65 on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25
master | third sent | demote -240 (send ok on em0)
    | MASTER ad 1.140625 down4 3.140625 down6 3.140625 next 0.25

held | early + advertise due + bow-out + bow-out, preempt + unknown + no carrier +
    add address + remove address + remove IPv6 + remove IPv4 + same addresses + demote +
    demote more + demote negative + undemote + force INIT + force MASTER + settings + sent +
    error + sent after errors + errors again + no memory + number + source | -
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | down4 due + down6 due | - | INIT
held | worse + worse, preempt + worse and demoted, preempt | another master at 192.0.2.9: 1/150
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | worse over IPv6 | another master at fe80::9: 1/150
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | as slow as patience | another master at 192.0.2.9: 3/100
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | slower than patience | another master at 192.0.2.9: 4/0
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | echo | refused advertisement from 192.0.2.5: it is an echo of our own
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | up | link restored within one interval; send4 1/100 #3; send6 1/100 #4; acquire; arp; nd
    | MASTER ad 1.390625 down4 3.140625 down6 3.140625 next 0.5
held | bad settings | refused: advskew 255 is outside 0..=254
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | third error | demote +240 (send error 65 on em0)
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
held | third sent | demote -240 (send ok on em0)
    | MASTER down4 3.140625 down6 3.140625 next 1.140625
"#;

/// What changes without `acquire_first`.
pub(crate) const WITHOUT_ACQUIRE_FIRST: &str = r#"
backup | due + wake | BACKUP -> MASTER (master timed out); send4 1/100 #1; send6 1/100 #2; arp;
    nd; acquire | MASTER ad 1.390625 next 0.5
backup | down4 due + down6 due | BACKUP -> MASTER (master timed out); send4 1/100 #500;
    send6 1/100 #501; arp; nd; acquire | MASTER ad 1.390625 next 0.5
backup | worse, preempt + worse and demoted, preempt |
    BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 1/150; send4 1/100 #501;
    send6 1/100 #502; arp; nd; acquire | MASTER ad 1.390625 next 0.5
backup | slower than patience | BACKUP -> MASTER (master will time out) by 192.0.2.9 4/0;
    send4 1/100 #501; send6 1/100 #502; arp; nd; acquire | MASTER ad 1.390625 next 0.5
backup | bow-out | BACKUP -> MASTER (master will time out) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; arp; nd; acquire | MASTER ad 1.390625 next 0.5
backup | bow-out, preempt | BACKUP -> MASTER (preempting a slower master) by 192.0.2.9 255/255;
    send4 1/100 #501; send6 1/100 #502; arp; nd; acquire | MASTER ad 1.390625 next 0.5
backup | force MASTER | BACKUP -> MASTER (user requested via ifconfig); send4 1/100 #1;
    send6 1/100 #2; arp; nd; acquire | MASTER ad 1.390625 next 0.5
"#;

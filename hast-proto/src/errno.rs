//! Error numbers, which are FreeBSD's on the wire (HAST §0).

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;

/// A FreeBSD error number: what "error" carries in a reply.
///
/// There is no number for success; a number that FreeBSD does not have becomes [`EIO`](Self::EIO).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Errno(u8);

impl Errno {
    /// There is no such thing.
    pub const ENOENT: Self = Self(2);
    /// Input or output failed.
    pub const EIO: Self = Self(5);
    /// The device has gone.
    pub const ENXIO: Self = Self(6);
    /// There is more than fits.
    pub const E2BIG: Self = Self(7);
    /// There is no memory.
    pub const ENOMEM: Self = Self(12);
    /// It is in use.
    pub const EBUSY: Self = Self(16);
    /// The request makes no sense.
    pub const EINVAL: Self = Self(22);
    /// The device knows no such request.
    pub const ENOTTY: Self = Self(25);
    /// There is no space left.
    pub const ENOSPC: Self = Self(28);
    /// It can only be read.
    pub const EROFS: Self = Self(30);
    /// It may work later; also the name of a timeout on a socket.
    pub const EAGAIN: Self = Self(35);
    /// The device cannot do that.
    pub const EOPNOTSUPP: Self = Self(45);
    /// The connection was given up.
    pub const ECONNABORTED: Self = Self(53);
    /// The peer reset the connection.
    pub const ECONNRESET: Self = Self(54);
    /// There is no buffer space.
    pub const ENOBUFS: Self = Self(55);
    /// There is no connection.
    pub const ENOTCONN: Self = Self(57);
    /// Nothing came in time.
    pub const ETIMEDOUT: Self = Self(60);
    /// Nobody listens there.
    pub const ECONNREFUSED: Self = Self(61);
    /// The peer speaks another version.
    pub const ERPCMISMATCH: Self = Self(73);
    /// It is the wrong kind of file.
    pub const EFTYPE: Self = Self(79);
    /// The request was cancelled.
    pub const ECANCELED: Self = Self(85);

    /// Takes the number in "error"; `None` for 0, which is success.
    #[must_use]
    pub fn from_wire(number: i16) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self::from_freebsd(number.into())),
        }
    }

    /// Takes a number of FreeBSD's `errno.h`; 0 and unknown ones become [`EIO`](Self::EIO).
    #[must_use]
    pub fn from_freebsd(number: i32) -> Self {
        u8::try_from(number)
            .ok()
            .filter(|number| entry(*number).is_some())
            .map_or(Self::EIO, Self)
    }

    /// Takes a number of Linux's `errno.h`; 0 and those that FreeBSD lacks become
    /// [`EIO`](Self::EIO).
    #[must_use]
    pub fn from_linux(number: i32) -> Self {
        TABLE
            .iter()
            .zip(1..)
            .find(|((_, linux), _)| *linux != 0 && i32::from(*linux) == number)
            .map_or(Self::EIO, |(_, freebsd)| Self(freebsd))
    }

    /// Takes a name such as `"EINVAL"`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .zip(1..)
            .find(|((known, _), _)| *known == name)
            .map(|(_, freebsd)| Self(freebsd))
    }

    /// Returns FreeBSD's number, which is the one on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Returns the number as the pair "error" holds it.
    #[must_use]
    pub fn to_wire(self) -> i16 {
        self.0.into()
    }

    /// Returns Linux's number for the same error; that of `EIO` where Linux has none.
    #[must_use]
    pub fn to_linux(self) -> i32 {
        match entry(self.0) {
            None | Some((_, 0)) => i32::from(Self::EIO.0),
            Some((_, linux)) => i32::from(*linux),
        }
    }

    /// Returns the name, such as `"EINVAL"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        entry(self.0).map_or("EIO", |(name, _)| name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// The table's line for FreeBSD's number.
fn entry(number: u8) -> Option<&'static (&'static str, u8)> {
    TABLE.get(usize::from(number).checked_sub(1)?)
}

/// FreeBSD's errors from 1 on, each with Linux's number; 0 where Linux has no such error.
#[rustfmt::skip]
const TABLE: &[(&str, u8)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("ENOEXEC", 8),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EDEADLK", 35),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("ENOTBLK", 15),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("EXDEV", 18),
    ("ENODEV", 19),
    ("ENOTDIR", 20),
    ("EISDIR", 21),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("ETXTBSY", 26),
    ("EFBIG", 27),
    ("ENOSPC", 28),
    ("ESPIPE", 29),
    ("EROFS", 30),
    ("EMLINK", 31),
    ("EPIPE", 32),
    ("EDOM", 33),
    ("ERANGE", 34),
    ("EAGAIN", 11),
    ("EINPROGRESS", 115),
    ("EALREADY", 114),
    ("ENOTSOCK", 88),
    ("EDESTADDRREQ", 89),
    ("EMSGSIZE", 90),
    ("EPROTOTYPE", 91),
    ("ENOPROTOOPT", 92),
    ("EPROTONOSUPPORT", 93),
    ("ESOCKTNOSUPPORT", 94),
    ("EOPNOTSUPP", 95),
    ("EPFNOSUPPORT", 96),
    ("EAFNOSUPPORT", 97),
    ("EADDRINUSE", 98),
    ("EADDRNOTAVAIL", 99),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ENETRESET", 102),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("ENOBUFS", 105),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ESHUTDOWN", 108),
    ("ETOOMANYREFS", 109),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("ELOOP", 40),
    ("ENAMETOOLONG", 36),
    ("EHOSTDOWN", 112),
    ("EHOSTUNREACH", 113),
    ("ENOTEMPTY", 39),
    ("EPROCLIM", 0),
    ("EUSERS", 87),
    ("EDQUOT", 122),
    ("ESTALE", 116),
    ("EREMOTE", 66),
    ("EBADRPC", 0),
    ("ERPCMISMATCH", 0),
    ("EPROGUNAVAIL", 0),
    ("EPROGMISMATCH", 0),
    ("EPROCUNAVAIL", 0),
    ("ENOLCK", 37),
    ("ENOSYS", 38),
    ("EFTYPE", 0),
    ("EAUTH", 0),
    ("ENEEDAUTH", 0),
    ("EIDRM", 43),
    ("ENOMSG", 42),
    ("EOVERFLOW", 75),
    ("ECANCELED", 125),
    ("EILSEQ", 84),
    ("ENOATTR", 61),
    ("EDOOFUS", 0),
    ("EBADMSG", 74),
    ("EMULTIHOP", 72),
    ("ENOLINK", 67),
    ("EPROTO", 71),
    ("ENOTCAPABLE", 0),
    ("ECAPMODE", 0),
    ("ENOTRECOVERABLE", 131),
    ("EOWNERDEAD", 130),
    ("EINTEGRITY", 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_specification_have_their_names() {
        for (name, freebsd, linux) in [
            ("EIO", 5, 5),
            ("ENXIO", 6, 6),
            ("ENOMEM", 12, 12),
            ("EBUSY", 16, 16),
            ("EINVAL", 22, 22),
            ("ENOSPC", 28, 28),
            ("EROFS", 30, 30),
            ("EAGAIN", 35, 11),
            ("EOPNOTSUPP", 45, 95),
            ("ECONNABORTED", 53, 103),
            ("ECONNRESET", 54, 104),
            ("ENOBUFS", 55, 105),
            ("ENOTCONN", 57, 107),
            ("ETIMEDOUT", 60, 110),
            ("ECONNREFUSED", 61, 111),
            ("ECANCELED", 85, 125),
        ] {
            let error = Errno::from_freebsd(freebsd);
            assert_eq!(error.name(), name);
            assert_eq!(error.to_linux(), linux, "{name}");
            assert_eq!(Errno::from_linux(linux), error, "{name}");
            assert_eq!(Errno::from_name(name), Some(error));
        }
        // Linux has neither.
        assert_eq!(
            (Errno::ERPCMISMATCH.name(), Errno::ERPCMISMATCH.to_linux()),
            ("ERPCMISMATCH", 5)
        );
        assert_eq!(
            (Errno::EFTYPE.name(), Errno::EFTYPE.to_linux()),
            ("EFTYPE", 5)
        );
    }

    #[test]
    fn an_unknown_number_is_an_input_or_output_error() {
        assert_eq!(Errno::from_wire(0), None);
        for number in [-2, 98, 255, 256, i16::MAX, i16::MIN] {
            assert_eq!(Errno::from_wire(number), Some(Errno::EIO), "{number}");
        }
        assert_eq!(Errno::from_linux(0), Errno::EIO);
        assert_eq!(Errno::from_linux(4095), Errno::EIO);
    }

    #[test]
    fn every_number_comes_back() {
        for number in 1..=97 {
            let error = Errno::from_wire(number).unwrap();
            assert_eq!(error.to_wire(), number);
            assert_eq!(Errno::from_name(error.name()), Some(error));
        }
    }
}

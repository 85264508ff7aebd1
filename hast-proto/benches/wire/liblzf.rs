//! LZF beside Marc Lehmann's library in C, if it is there to be linked with.

use core::ffi::{c_uint, c_void};

use hast_proto::lzf::{Compressor, decompress_exact};

use super::{Case, LARGE, Promise, black_box, noise, one_call, sparse, text};

#[link(name = "lzf")]
#[expect(unsafe_code, reason = "the library is in C")]
unsafe extern "C" {
    fn lzf_compress(
        data: *const c_void,
        data_len: c_uint,
        output: *mut c_void,
        output_len: c_uint,
    ) -> c_uint;
    fn lzf_decompress(
        stream: *const c_void,
        stream_len: c_uint,
        output: *mut c_void,
        output_len: c_uint,
    ) -> c_uint;
}

/// One of the two functions.
type Function = unsafe extern "C" fn(*const c_void, c_uint, *mut c_void, c_uint) -> c_uint;

/// Returns how much of `output` was written, 0 for an error.
#[expect(unsafe_code, reason = "the library is in C")]
fn call(function: Function, input: &[u8], output: &mut [u8]) -> usize {
    let [input_len, output_len] = [input.len(), output.len()].map(|len| len.try_into().unwrap());
    // SAFETY: both functions read `input_len` octets of the first buffer, write at most
    // `output_len` of the second, and keep neither; the slices are as long as that.
    let written = unsafe {
        function(
            input.as_ptr().cast(),
            input_len,
            output.as_mut_ptr().cast(),
            output_len,
        )
    };
    written.try_into().unwrap()
}

/// Both decompress the library's own stream into a buffer that is there already.
fn decompressing(name: &'static str, data: &[u8]) -> Case {
    let mut stream = vec![0; data.len()];
    let len = call(lzf_compress, data, &mut stream);
    stream.truncate(len);
    let mut output = vec![0; data.len()];
    assert_eq!(call(lzf_decompress, &stream, &mut output), data.len());
    assert_eq!(output, data);
    let theirs = stream.clone();
    let mut their_output = output.clone();
    Case {
        name,
        len: data.len(),
        run: one_call(move || {
            decompress_exact(black_box(&stream), black_box(&mut output)).unwrap()
        }),
        floor_name: "liblzf",
        floor: one_call(move || {
            black_box(call(
                lzf_decompress,
                black_box(&theirs),
                black_box(&mut their_output),
            ));
        }),
        promises: &[Promise::NotSlower],
    }
}

/// Both compress into a buffer that is there already, with room for what saves something.
fn compressing(name: &'static str, data: Vec<u8>) -> Case {
    let len = data.len();
    let theirs = data.clone();
    let mut output = vec![0; len - 1024];
    let mut their_output = output.clone();
    let mut compressor = Compressor::new();
    Case {
        name,
        len,
        run: one_call(move || {
            black_box(compressor.compress(black_box(&data), black_box(&mut output)));
        }),
        floor_name: "liblzf",
        floor: one_call(move || {
            black_box(call(
                lzf_compress,
                black_box(&theirs),
                black_box(&mut their_output),
            ));
        }),
        promises: &[],
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        decompressing("decompress text, 128 KiB", &text(LARGE)),
        decompressing("decompress sparse data, 128 KiB", &sparse(LARGE)),
        compressing("compress text, 128 KiB", text(LARGE)),
        compressing("compress sparse data, 128 KiB", sparse(LARGE)),
        compressing("compress noise, 128 KiB", noise(LARGE)),
    ]
}

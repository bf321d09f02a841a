//! Decompression of `PERF_RECORD_COMPRESSED`: one zstd stream over all records of a file.

use std::fmt;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// Most that one record of 64 KiB may expand to. perf compresses what one ring holds at once.
const MAX_EXPANDED_BYTES: usize = 256 << 20;
const STEP_BYTES: usize = 128 << 10;

/// A decoder that is made when it is first needed.
#[derive(Default)]
pub(super) struct Inflate {
    decoder: Option<Decoder<'static>>,
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").finish_non_exhaustive()
    }
}

impl Inflate {
    /// Appends what `data` expands to. What was expanded before something odd is kept.
    pub(super) fn append(&mut self, data: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => {
                let made = Decoder::new().map_err(|e| format!("zstd: {e}"))?;
                self.decoder.insert(made)
            }
        };
        let mut input = InBuffer::around(data);
        let most = plain.len().saturating_add(MAX_EXPANDED_BYTES);
        loop {
            let old = plain.len();
            if old >= most {
                return Err(format!("expands to more than {MAX_EXPANDED_BYTES} bytes"));
            }
            plain.resize(old + STEP_BYTES, 0);
            let mut output = OutBuffer::around(&mut plain[old..]);
            let result = decoder.run(&mut input, &mut output);
            let written = output.pos();
            plain.truncate(old + written);
            result.map_err(|e| format!("zstd: {e}"))?;
            // Room was left, so nothing waits within the decoder.
            if written < STEP_BYTES && input.pos() >= data.len() {
                return Ok(());
            }
            if written == 0 && input.pos() < data.len() {
                return Err("zstd: makes no progress".to_owned());
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The program's own code and constants in memory.
public enum ProgramCode {
  /// Drops their resident pages (madvise, MADV_DONTNEED). Called when the start is complete: most pages were used once, or
  /// were mapped only because they adjoin used pages. Pages that are used again return from the page cache.
  ///
  /// Breakpoints that a debugger has set before this call are lost.
  public static func drop() {
    let code = cl_program_code()
    let start = (code.start + 4095) & ~4095
    let end = code.end & ~4095
    // The linker may leave holes. The kernel then returns ENOMEM, after it has processed the rest. The call
    // is only advice.
    if start < end { _ = cl_madvise(start, end - start, MADV_DONTNEED) }
  }
}

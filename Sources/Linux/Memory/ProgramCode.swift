// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The program's own code in memory.
public enum ProgramCode {
  /// Drops the resident pages of the code (madvise, MADV_DONTNEED). Most of them were executed once, or were
  /// mapped only because they adjoin executed pages. Pages that are executed again return from the page
  /// cache.
  ///
  /// Breakpoints that a debugger has set before this call are lost.
  public static func dropTextPages() {
    let code = cl_program_code()
    let start = (code.start + 4095) & ~4095
    let end = code.end & ~4095
    // The linker may leave holes. The kernel then returns ENOMEM, after it has processed the rest. The call
    // is only advice.
    if start < end { _ = cl_madvise(start, end - start, MADV_DONTNEED) }
  }
}

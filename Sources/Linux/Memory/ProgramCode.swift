// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The program's own code in memory.
public enum ProgramCode {
  /// Gives back what of it is resident (madvise, MADV_DONTNEED): most of it has been run once, and most of that was
  /// only mapped because it lies beside it. What is run again comes back from the page cache.
  ///
  /// A debugger's breakpoints that have been set by then are gone.
  public static func release() {
    let code = cl_program_code()
    let start = (code.start + 4095) & ~4095
    let end = code.end & ~4095
    // The linker may leave holes, for which the kernel answers ENOMEM when it has done the rest; and it is only advice.
    if start < end { _ = cl_madvise(start, end - start, MADV_DONTNEED) }
  }
}

// SPDX-License-Identifier: Apache-2.0

/// The kernel's command line.
enum KernelCommandLine {
  /// The parameters that make Linux ignore KVM's clock (arch/x86/kernel/kvmclock.c,
  /// arch/x86/kernel/cpu/hypervisor.c).
  private static let clockOptions: Set<Substring> = ["no-kvmclock", "nopv"]

  /// Adds the frequency of the time stamp counter to a command line that makes Linux ignore KVM's clock.
  ///
  /// A hardware-reduced machine has neither an HPET nor a PM timer. Linux reads the PIT only early in the
  /// boot. That calibration fails if an exit is slow (Linux arch/x86/kernel/tsc.c, quick_pit_calibrate).
  ///
  /// - Parameters:
  ///   - text: The configured command line.
  ///   - frequency: The frequency in kHz, or nil if it is not known.
  static func text(_ text: String, frequency: Int?) -> String {
    let words = text.split(whereSeparator: \.isWhitespace)
    guard let frequency, !words.contains(where: { $0.hasPrefix("tsc_early_khz=") }) else { return text }
    guard let clock = words.first(where: { clockOptions.contains($0) }) else { return text }
    return text[..<clock.endIndex] + " tsc_early_khz=\(frequency)" + text[clock.endIndex...]
  }
}

// SPDX-License-Identifier: Apache-2.0

public import Logging

/// Runs a VM from a configuration to its end.
public struct Run: Sendable {
  private let vm: VM<VFIOBackend>

  /// Prepares a run; only the trace file is opened.
  ///
  /// - Parameter start: When the program began; microseconds of the monotonic clock.
  public init(
    _ configuration: Configuration, log: Logger, start: Int64
  ) throws(RunError) { vm = try VM(configuration, log: log, start: start) }

  /// Starts the VM, waits for its end, and hands the devices back.
  ///
  /// - Returns: How it ended. The trace is complete then, or the log says why not.
  public func run() throws(RunError) -> Outcome { try vm.run() }
}

// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Synchronization

/// Messages on standard error.
public enum StandardError {
  private struct State {
    /// The output, or nil until ``stopWaiting()``.
    var output: Output?
    /// The number of dropped lines that are not reported yet.
    var dropped = 0
    /// True if only a part of the last line was written.
    var isCut = false
  }

  /// Taken by any thread for one message. Last in the lock order: no lock is taken inside it.
  private static let state = Mutex(State())

  /// Makes later writes non-blocking: a message that standard error does not accept immediately is dropped
  /// and counted. Call this before a seccomp filter is loaded, because it opens standard error again.
  public static func stopWaiting() {
    state.withLock { if $0.output == nil { $0.output = Output(2) } }
  }

  /// Writes a message.
  ///
  /// - Parameters:
  ///   - text: Whole lines.
  ///   - timeout: The maximum time to wait until standard error has room, in milliseconds.
  public static func write(_ text: String, timeout: Int32 = 0) {
    state.withLock { state in
      guard let output = state.output else {
        // A message that cannot be written has no other destination.
        do throws(KernelError) { try writeAll(2, [UInt8](text.utf8)[...]) } catch {}
        return
      }
      var message = state.isCut ? "\n" : ""
      if state.dropped > 0 {
        message +=
          "sluice: warning: \(state.dropped) lines were dropped: standard error did not accept them\n"
      }
      message += text
      if timeout > 0 { _ = output.waitForRoom(timeout) }
      let bytes = [UInt8](message.utf8)
      let taken = unsafe bytes.withUnsafeBytes { unsafe output.write($0) }
      if taken == bytes.count {
        (state.dropped, state.isCut) = (0, false)
      } else {
        state.dropped += text.utf8.count { $0 == UInt8(ascii: "\n") }
        if taken > 0 { state.isCut = true }
      }
    }
  }
}

/// Writes a message to standard error; see ``StandardError``.
public func writeStandardError(_ text: String) { StandardError.write(text) }

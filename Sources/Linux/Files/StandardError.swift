// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Synchronization

/// Messages on standard error.
public enum StandardError {
  private struct State {
    /// nil until ``stopWaiting()``.
    var output: Output?
    /// Lines that were not taken and are not reported yet.
    var dropped = 0
    /// The last line was taken in part.
    var isCut = false
  }

  /// Owner: any thread, for one message. Last in the lock order; nothing is locked inside it.
  private static let state = Mutex(State())

  /// From now on a message that standard error does not take at once is dropped and counted. Call this before a
  /// filter is loaded: it opens standard error again.
  public static func stopWaiting() {
    state.withLock { if $0.output == nil { $0.output = Output(2) } }
  }

  /// Writes a message.
  ///
  /// - Parameters:
  ///   - text: Whole lines.
  ///   - patience: How long to wait for a reader that has not taken earlier messages, in milliseconds.
  public static func write(_ text: String, patience: Int32 = 0) {
    state.withLock { state in
      guard let output = state.output else {
        // A message that cannot be written has no other place to go.
        do throws(KernelError) { try writeAll(2, [UInt8](text.utf8)[...]) } catch {}
        return
      }
      var message = state.isCut ? "\n" : ""
      if state.dropped > 0 {
        message +=
          "sluice: warning: \(state.dropped) lines were dropped, because standard error did not take them\n"
      }
      message += text
      if patience > 0 { _ = output.waitForRoom(patience) }
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

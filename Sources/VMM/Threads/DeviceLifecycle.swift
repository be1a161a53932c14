// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// Hands devices to the guest and back. Each has a thread of its own for that, because each takes as long as its
/// resets, and under the filters no thread can be made any more.
final class DeviceLifecycle: Sendable {
  /// Signalled once, when no vCPU runs any more and every gate is closed; waiting threads leave it as it is.
  private let end: EventFD
  /// Taken by each thread whose device could not be given back; nothing is locked inside it.
  private let failures = Mutex<[FunctionError]>([])

  init() throws(KernelError) { end = try EventFD() }

  /// What the thread of a device does, from the start of the VM to its end.
  ///
  /// - Parameters:
  ///   - function: One whose reset reaches no other one of the VM.
  ///   - begun: Called when the guest may start.
  ///   - failed: Told why the guest cannot have it.
  func serve(_ function: AssignedFunction<some Backend>, begun: () -> Void, failed: (FunctionError) -> Void) {
    do throws(FunctionError) { try function.resetAtStart(begun: begun) } catch { failed(error) }
    // Where waiting fails the kernel does it, when the process ends.
    do throws(KernelError) { try end.wait() } catch { return }
    release(function)
  }

  /// Lets the devices' threads give them back.
  func releaseAll() { end.signal() }

  /// Gives a device back whose gate is closed.
  func release(_ function: AssignedFunction<some Backend>) {
    do throws(FunctionError) { try function.resetAndRelease() } catch {
      failures.withLock { $0.append(error) }
    }
  }

  /// Why devices could not be given back; once all are through.
  var failed: [FunctionError] { failures.withLock { $0 } }
}

// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// Resets devices for the guest and returns them to the host. Each device that is reset alone has a separate
/// thread, because each takes as long as its resets. The threads exist from the start, because the seccomp
/// filters forbid new threads.
final class DeviceLifecycle: Sendable {
  /// Signalled once, after all vCPUs have stopped and every gate is closed. Waiting threads keep its count.
  private let end: EventFD
  /// Taken by each thread whose device could not be returned. No lock is taken inside it.
  private let failures = Mutex<[FunctionError]>([])

  init() throws(KernelError) { end = try EventFD() }

  /// Serves a device on its thread, from the start of the VM to its end.
  ///
  /// - Parameters:
  ///   - function: A function whose reset reaches no other function of the VM.
  ///   - begun: Called when the guest may start.
  ///   - failed: Called with the error if the guest cannot have the device.
  func serve(_ function: AssignedFunction<some Backend>, begun: () -> Void, failed: (FunctionError) -> Void) {
    do throws(FunctionError) { try function.resetAtStart(begun: begun) } catch { failed(error) }
    // If waiting fails, the kernel resets and releases the device when the process ends.
    do throws(KernelError) { try end.wait() } catch { return }
    release(function)
  }

  /// Makes the devices' threads return their devices.
  func releaseAll() { end.signal() }

  /// Returns a device to the host. The device's gate must be closed.
  func release(_ function: AssignedFunction<some Backend>) {
    do throws(FunctionError) { try function.resetAndRelease() } catch {
      failures.withLock { $0.append(error) }
    }
  }

  /// The errors of devices that could not be returned. Complete after all threads have ended.
  var failed: [FunctionError] { failures.withLock { $0 } }
}

// SPDX-License-Identifier: Apache-2.0

internal import Gate
public import PCI
internal import Seams
internal import Synchronization
public import Trace

/// A function behind a port. Its owner serializes these calls.
extension AssignedFunction {
  /// Opens or closes the function's path through its port. The gate closes before the port reports anything to the
  /// guest, and arms after the device has its command register again.
  public func setConnected(_ isConnected: Bool) throws(FunctionError) {
    try served(otherwise: ()) { state throws(OperationError) in
      guard state.gate.conditions.contains(.connected) != isConnected else { return }
      try state.apply(.set(.connected, isConnected), .port) { owner in
        if isConnected, owner.gate.conditions.contains(.alive) { owner.writeCommand() }
      }
      update(state)
    }
  }

  /// Resets the function because the guest resets its slot. The path through the port is closed. Returns after the
  /// reset.
  public func resetInSlot() throws(FunctionError) {
    do throws(OperationError) {
      let isAlive = try state.withLock { state throws(OperationError) in
        guard state.gate.conditions.contains(.alive) else { return false }
        try state.beginReset()
        update(state)
        return true
      }
      if isAlive { try reset(.slot) }
    } catch { try isolate(error) }
  }

  /// Takes a notification of the host. Returns false if there was none.
  public func take(_ notification: DeviceNotification) throws(FunctionError) -> Bool {
    do throws(OperationError) {
      return switch notification {
      case .error: try notifications.error.take() > 0
      case .request: try notifications.request.take() > 0
      }
    } catch { throw failure(error) }
  }

  /// Takes the function from the guest, which has switched its slot off, or whose slot is empty from now on. The
  /// device stays open until ``release()``.
  public func leaveSlot() throws(FunctionError) {
    do throws(OperationError) { try detach(.released, .release, nil) } catch { throw failure(error) }
  }

  /// Resets the device and returns it to the host, after ``leaveSlot()``.
  public func release() throws(FunctionError) {
    do throws(OperationError) { try handBack() } catch { throw failure(error) }
  }

  /// Reports a state of the function's life behind its port.
  public func note(_ state: TraceEvent.SlotState) { observe(.slot(state), 0) }

  /// True until the device is closed.
  public var isOpen: Bool { device.isOpen }

  /// The link of the device as the host's configuration space reports it, or the slowest link if the device has no
  /// PCI Express capability.
  public func link() throws(FunctionError) -> RootPort.Link { try locked { state in state.config.link } }
}

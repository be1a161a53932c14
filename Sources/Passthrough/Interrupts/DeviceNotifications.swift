// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// The eventfds of the notifications that the host's kernel sends about a device: an error, or a request for
/// the device.
struct DeviceNotifications<B: Backend>: Sendable {
  let error: B.Machine.Event
  let request: B.Machine.Event

  /// Registers the eventfds with the kernel. A device without PCI Express has no error notification.
  init(_ device: B.Device, _ machine: B.Machine) throws(OperationError) {
    error = try machine.makeEventFD()
    request = try machine.makeEventFD()
    try register(with: device)
  }

  /// Registers the eventfds with the kernel again, after the device has been opened again.
  func register(with device: B.Device) throws(OperationError) {
    for (kind, number) in [(InterruptKind.error, error.number), (.request, request.number)] {
      guard device.interruptInfo(kind).count > 0 else { continue }
      try device.setTrigger(kind, vector: 0, event: number)
    }
  }
}

/// A notification of the host's kernel about a device.
public enum DeviceNotification: Sendable, CaseIterable {
  /// The kernel has detected an error of the device (AER).
  case error
  /// The kernel requests the device.
  case request
}

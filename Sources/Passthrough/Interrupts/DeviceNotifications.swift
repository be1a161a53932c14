// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// What the host's kernel has to say about a device: an error of it, or that it is wanted back.
struct DeviceNotifications<B: Backend>: Sendable {
  let error: B.Machine.Event
  let request: B.Machine.Event

  /// Asks the kernel to tell. A device that is not PCI Express has no errors to report.
  init(_ device: B.Device, _ machine: B.Machine) throws(OperationError) {
    error = try machine.makeEvent()
    request = try machine.makeEvent()
    for (kind, number) in [(InterruptKind.error, error.number), (.request, request.number)] {
      guard device.interruptInfo(kind).count > 0 else { continue }
      try device.setTrigger(kind, vector: 0, event: number)
    }
  }
}

/// A notice of the host's kernel about a device.
public enum DeviceNotification: Sendable, CaseIterable {
  /// It has met an error of the device (AER).
  case error
  /// It wants the device back.
  case request
}

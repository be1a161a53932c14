// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import VFIO

/// What the host's kernel has to say about a device: an error of it, or that it is wanted back.
final class Notices: Sendable {
  let error: Event
  let request: Event

  /// Asks the kernel to tell. A device that is not PCI Express has no errors to report.
  init(_ device: Device) throws(KernelError) {
    error = try Event()
    request = try Event()
    for (kind, number) in [(Device.InterruptKind.error, error.number), (.request, request.number)] {
      guard device.interruptInfo(kind).count > 0 else { continue }
      try device.setTrigger(kind, vector: 0, event: number)
    }
  }
}

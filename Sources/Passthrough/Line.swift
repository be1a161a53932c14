// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import VFIO

/// A function's interrupt pin: device → eventfd → irqfd raises the guest's line, and the guest's end of
/// interrupt → eventfd lets the device, which the kernel masked meanwhile, raise it again. Neither runs
/// our code, and a line can be shared.
final class Line: Sendable {
  private let device: Device
  private let machine: VirtualMachine
  private let gsi: UInt32
  private let trigger: Event
  private let resample: Event

  /// - Parameter gsi: The input of the guest's I/O APIC.
  init(_ device: Device, machine: VirtualMachine, gsi: UInt32) throws(KernelError) {
    self.device = device
    self.machine = machine
    self.gsi = gsi
    trigger = try Event()
    resample = try Event()
  }

  /// Connects the pin. A device that asserts it already raises the line at once.
  func enable() throws(KernelError) {
    try machine.connect(event: trigger.number, toLine: gsi, resample: resample.number)
    do throws(KernelError) {
      try device.setTrigger(.intx, vector: 0, event: trigger.number)
      try device.setUnmask(event: resample.number)
    } catch {
      try machine.disconnect(event: trigger.number, fromInterrupt: gsi)
      throw error
    }
  }

  /// Takes the pin from the device; nothing of it can reach the guest any more.
  func disable() throws(KernelError) { try device.disableInterrupts(.intx) }

  /// Lowers the line, as far as this function raised it, and frees it for ``enable()``.
  func disconnect() throws(KernelError) {
    try machine.disconnect(event: trigger.number, fromInterrupt: gsi)
    try trigger.take()
    try resample.take()
  }
}

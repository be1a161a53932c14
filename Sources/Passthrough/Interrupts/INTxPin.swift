// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// The INTx pin of a function.
///
/// The path device → eventfd → irqfd raises the guest's GSI. The kernel masks the device's interrupt when it
/// fires. The path end of interrupt → eventfd → device unmasks it. Neither path runs Sluice's code. Functions
/// can share a GSI.
struct INTxPin<B: Backend> {
  private let device: B.Device
  private let machine: B.Machine
  private let gsi: UInt32
  /// Both eventfds are kept for the life of the VM, because the filter of a vCPU thread does not allow
  /// close().
  private let trigger: B.Machine.Event
  private let resample: B.Machine.Event
  /// True if the eventfd raises the guest's GSI.
  private var isConnected = false
  /// True if the device signals the eventfd.
  private(set) var isOn = false

  /// Creates the eventfds of a pin.
  ///
  /// - Parameters:
  ///   - device: The device that signals INTx.
  ///   - machine: The VM that receives the interrupt.
  ///   - gsi: The input of the guest's I/O APIC.
  init(_ device: B.Device, _ machine: B.Machine, gsi: UInt32) throws(OperationError) {
    self.device = device
    self.machine = machine
    self.gsi = gsi
    trigger = try machine.makeEventFD()
    resample = try machine.makeEventFD()
  }

  /// Connects the pin. A device that already asserts the pin raises the GSI at once.
  ///
  /// - Throws: The kernel's error. It is EBUSY if another driver of the host does not share the IRQ. The pin is
  ///   then off, unless ``isOn`` is true. This method may be called again.
  mutating func enable() throws(OperationError) {
    if !isConnected {
      try machine.connect(event: trigger.number, toLevelGSI: gsi, resample: resample.number)
      isConnected = true
    }
    do throws(OperationError) {
      try device.setTrigger(.intx, vector: 0, event: trigger.number)
      isOn = true
      try device.setUnmask(event: resample.number)
    } catch {
      // Throw the first failure. If the cleanup fails too, the flags record which connections remain.
      do throws(OperationError) { try disable() } catch {}
      do throws(OperationError) { try disconnect() } catch {}
      throw error
    }
  }

  /// Turns the pin off in the device. Its interrupts no longer reach the guest.
  mutating func disable() throws(OperationError) {
    guard isOn else { return }
    try device.disableInterrupts(.intx)
    isOn = false
  }

  /// Removes the irqfd and drains both eventfds, so that ``enable()`` can connect them again. The GSI goes
  /// low unless another function asserts it.
  mutating func disconnect() throws(OperationError) {
    guard isConnected else { return }
    try machine.disconnect(event: trigger.number, from: gsi)
    isConnected = false
    _ = try trigger.take()
    _ = try resample.take()
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// A function's interrupt pin: device → eventfd → irqfd raises the guest's line, and the guest's end of
/// interrupt → eventfd lets the device, which the kernel masked meanwhile, raise it again. Neither runs
/// our code, and a line can be shared.
struct INTxPin<B: Backend> {
  private let device: B.Device
  private let machine: B.Machine
  private let gsi: UInt32
  /// Both are kept for the life of the VM: a vCPU's filter has no close().
  private let trigger: B.Machine.Event
  private let resample: B.Machine.Event
  /// The event raises the guest's line.
  private var isConnected = false
  /// The device signals the event.
  private(set) var isOn = false

  /// - Parameter gsi: The input of the guest's I/O APIC.
  init(_ device: B.Device, _ machine: B.Machine, gsi: UInt32) throws(OperationError) {
    self.device = device
    self.machine = machine
    self.gsi = gsi
    trigger = try machine.makeEvent()
    resample = try machine.makeEvent()
  }

  /// Connects the pin. A device that asserts it already raises the line at once.
  ///
  /// - Throws: The kernel's answer; EBUSY if another driver of the host does not share the line. The pin is off then,
  ///   unless ``isOn`` says otherwise, and this may be called again.
  mutating func enable() throws(OperationError) {
    if !isConnected {
      try machine.connect(event: trigger.number, toLine: gsi, resample: resample.number)
      isConnected = true
    }
    do throws(OperationError) {
      try device.setTrigger(.intx, vector: 0, event: trigger.number)
      isOn = true
      try device.setUnmask(event: resample.number)
    } catch {
      // The first failure counts. If undoing fails too, the flags say what stands.
      do throws(OperationError) { try disable() } catch {}
      do throws(OperationError) { try disconnect() } catch {}
      throw error
    }
  }

  /// Takes the pin from the device; nothing of it can reach the guest any more.
  mutating func disable() throws(OperationError) {
    guard isOn else { return }
    try device.disableInterrupts(.intx)
    isOn = false
  }

  /// Lowers the line, as far as this function raised it, and frees it for ``enable()``.
  mutating func disconnect() throws(OperationError) {
    guard isConnected else { return }
    try machine.disconnect(event: trigger.number, from: gsi)
    isConnected = false
    _ = try trigger.take()
    _ = try resample.take()
  }
}

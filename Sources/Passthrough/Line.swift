// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import VFIO

/// A function's interrupt pin: device → eventfd → irqfd raises the guest's line, and the guest's end of
/// interrupt → eventfd lets the device, which the kernel masked meanwhile, raise it again. Neither runs
/// our code, and a line can be shared.
struct Line<Source: InterruptSource, Sink: InterruptSink> {
  /// Kept for the life of the VM: a vCPU's filter has no close().
  private final class Events: Sendable {
    let trigger: Event
    let resample: Event

    init(_ sink: Sink) throws(KernelError) {
      trigger = try sink.makeEvent()
      resample = try sink.makeEvent()
    }
  }

  private let source: Source
  private let sink: Sink
  private let gsi: UInt32
  private let events: Events
  /// The event raises the guest's line.
  private var isConnected = false
  /// The device signals the event.
  private(set) var isOn = false

  /// - Parameter gsi: The input of the guest's I/O APIC.
  init(_ source: Source, _ sink: Sink, gsi: UInt32) throws(KernelError) {
    self.source = source
    self.sink = sink
    self.gsi = gsi
    events = try Events(sink)
  }

  /// Connects the pin. A device that asserts it already raises the line at once.
  ///
  /// - Throws: The kernel's answer; EBUSY if another driver of the host does not share the line. The pin is off then,
  ///   unless ``isOn`` says otherwise, and this may be called again.
  mutating func enable() throws(KernelError) {
    if !isConnected {
      try sink.connect(event: events.trigger.number, toLine: gsi, resample: events.resample.number)
      isConnected = true
    }
    do throws(KernelError) {
      try source.setTrigger(.intx, vector: 0, event: events.trigger.number)
      isOn = true
      try source.setUnmask(event: events.resample.number)
    } catch {
      // The first failure counts. If undoing fails too, the flags say what stands.
      do throws(KernelError) { try disable() } catch {}
      do throws(KernelError) { try disconnect() } catch {}
      throw error
    }
  }

  /// Takes the pin from the device; nothing of it can reach the guest any more.
  mutating func disable() throws(KernelError) {
    guard isOn else { return }
    try source.disableInterrupts(.intx)
    isOn = false
  }

  /// Lowers the line, as far as this function raised it, and frees it for ``enable()``.
  mutating func disconnect() throws(KernelError) {
    guard isConnected else { return }
    try sink.disconnect(event: events.trigger.number, from: gsi)
    isConnected = false
    try events.trigger.take()
    try events.resample.take()
  }
}

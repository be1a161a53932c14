// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import PCI
internal import Seams

/// The interrupt of a root port: an MSI if the guest has enabled it, else its pin INTD#.
struct PortInterrupt<M: Hypervisor> {
  private let machine: M
  /// The input of the guest's I/O APIC that the pin is wired to.
  private let gsi: UInt32
  private let message: M.Event
  private let pin: M.Event
  /// Signalled at the guest's end of an interrupt of the pin.
  let resample: M.Event
  private var route: Route?
  private var isMessageConnected = false
  private var isPinConnected = false

  init(_ machine: M, gsi: UInt32) throws(OperationError) {
    (self.machine, self.gsi) = (machine, gsi)
    message = try machine.makeEventFD()
    pin = try machine.makeEventFD()
    resample = try machine.makeEventFD()
  }

  /// Sends the port's message if there is one, and raises the pin while it is asserted.
  ///
  /// - Throws: The error of the hypervisor. The interrupt is lost.
  mutating func update(_ port: inout RootPort) throws(OperationError) {
    if let sent = port.takeMessage() {
      let route = try machine.setRoute(route, address: sent.address, data: sent.data)
      self.route = route
      if !isMessageConnected {
        try machine.connect(event: message.number, to: route.gsi)
        isMessageConnected = true
      }
      message.signal()
    }
    if port.isINTxAsserted {
      if !isPinConnected {
        try machine.connect(event: pin.number, toLevelGSI: gsi, resample: resample.number)
        isPinConnected = true
      }
      pin.signal()
    }
  }
}

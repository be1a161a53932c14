// SPDX-License-Identifier: Apache-2.0

internal import Seams
internal import VFIO

/// A device of the host, or a device in another process.
enum MixedDevice: PCIDevice {
  case host(VFIO.Device)
  case server(ServerDevice)

  var address: String {
    switch self {
    case .host(let device): device.address
    case .server(let device): device.address
    }
  }

  var hasReset: Bool {
    switch self {
    case .host(let device): device.hasReset
    case .server(let device): device.hasReset
    }
  }

  var busResetScope: [ResetDependent]? {
    switch self {
    case .host(let device): device.busResetScope
    case .server(let device): device.busResetScope
    }
  }

  var isOpen: Bool {
    switch self {
    case .host(let device): device.isOpen
    case .server(let device): device.isOpen
    }
  }

  var loss: OperationError? {
    switch self {
    case .host(let device): device.loss
    case .server(let device): device.loss
    }
  }

  func region(_ index: Int) -> DeviceRegion? {
    switch self {
    case .host(let device): device.region(index)
    case .server(let device): device.region(index)
    }
  }

  func read(_ region: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64 {
    switch self {
    case .host(let device): try device.read(region, offset: offset, width: width)
    case .server(let device): try device.read(region, offset: offset, width: width)
    }
  }

  func write(_ region: Int, offset: UInt64, width: Int, _ value: UInt64) throws(OperationError) {
    switch self {
    case .host(let device): try device.write(region, offset: offset, width: width, value)
    case .server(let device): try device.write(region, offset: offset, width: width, value)
    }
  }

  func readAll(_ region: Int, count: Int) throws(OperationError) -> [UInt8] {
    switch self {
    case .host(let device): try device.readAll(region, count: count)
    case .server(let device): try device.readAll(region, count: count)
    }
  }

  func map(_ region: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64 {
    switch self {
    case .host(let device): try device.map(region, area)
    case .server(let device): try device.map(region, area)
    }
  }

  func dmaBuffer(_ region: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32 {
    switch self {
    case .host(let device): try device.dmaBuffer(region, range)
    case .server(let device): try device.dmaBuffer(region, range)
    }
  }

  func interruptInfo(_ kind: InterruptKind) -> InterruptInfo {
    switch self {
    case .host(let device): device.interruptInfo(kind)
    case .server(let device): device.interruptInfo(kind)
    }
  }

  func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int {
    switch self {
    case .host(let device): try device.enableInterrupts(kind, count: count)
    case .server(let device): try device.enableInterrupts(kind, count: count)
    }
  }

  func disableInterrupts(_ kind: InterruptKind) throws(OperationError) {
    switch self {
    case .host(let device): try device.disableInterrupts(kind)
    case .server(let device): try device.disableInterrupts(kind)
    }
  }

  func setTrigger(_ kind: InterruptKind, vector: Int, event: Int32) throws(OperationError) {
    switch self {
    case .host(let device): try device.setTrigger(kind, vector: vector, event: event)
    case .server(let device): try device.setTrigger(kind, vector: vector, event: event)
    }
  }

  func setUnmask(event: Int32) throws(OperationError) {
    switch self {
    case .host(let device): try device.setUnmask(event: event)
    case .server(let device): try device.setUnmask(event: event)
    }
  }

  func reset() throws(OperationError) {
    switch self {
    case .host(let device): try device.reset()
    case .server(let device): try device.reset()
    }
  }

  func resetBus() throws(OperationError) {
    switch self {
    case .host(let device): try device.resetBus()
    case .server(let device): try device.resetBus()
    }
  }

  func reopen() throws(OperationError) {
    switch self {
    case .host(let device): try device.reopen()
    case .server(let device): try device.reopen()
    }
  }

  func close() {
    switch self {
    case .host(let device): device.close()
    case .server(let device): device.close()
    }
  }
}

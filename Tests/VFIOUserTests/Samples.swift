// SPDX-License-Identifier: Apache-2.0

import Fakes

@testable import VFIOUser

/// Random valid bodies of messages.
extension SeededGenerator {
  /// Returns a number below a power of two whose exponent is random.
  mutating func number(bits: UInt64 = 64) -> UInt64 {
    let width = next() % bits
    return next() & ((1 << width) - 1)
  }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

  mutating func range() -> IOVARange {
    let size = number(bits: 48) + 1
    return IOVARange(address: number() % (UInt64.max - size), size: size)
  }

  mutating func header() -> Header {
    Header(
      id: UInt16(truncatingIfNeeded: next()), command: UInt16(truncatingIfNeeded: next()),
      kind: Bool.random(using: &self) ? .command : .reply, bodySize: Int(next() % 4096),
      wantsNoReply: Bool.random(using: &self), isError: Bool.random(using: &self),
      errno: UInt32(truncatingIfNeeded: next()))
  }

  mutating func version() -> Version {
    var capabilities = Capabilities()
    capabilities.messageDescriptors = number() + 1
    capabilities.transferSize = number() + 1
    capabilities.dmaMaps = number() + 1
    capabilities.pageSizes = number() + 1
    capabilities.writesMultiple = Bool.random(using: &self)
    capabilities.twinSocket = Bool.random(using: &self)
    if Bool.random(using: &self) { capabilities.twinSocketIndex = number() }
    return Version(
      major: UInt16(truncatingIfNeeded: next()), minor: UInt16(truncatingIfNeeded: next()),
      capabilities: capabilities)
  }

  mutating func dmaMap() -> DMAMap {
    DMAMap(access: DMAAccess(rawValue: UInt32(next() % 16)), offset: number(bits: 62), range: range())
  }

  mutating func dmaUnmap() -> DMAUnmap { DMAUnmap(Bool.random(using: &self) ? range() : nil) }

  mutating func deviceInfo() -> DeviceInfo {
    DeviceInfo(
      flags: .init(rawValue: UInt32(truncatingIfNeeded: next())), regions: UInt32(truncatingIfNeeded: next()),
      interrupts: UInt32(truncatingIfNeeded: next()))
  }

  mutating func irqInfo() -> IRQInfo {
    IRQInfo(
      index: UInt32(truncatingIfNeeded: next()), flags: .init(rawValue: UInt32(truncatingIfNeeded: next())),
      count: UInt32(truncatingIfNeeded: next()))
  }

  mutating func regionInfo() -> RegionInfo {
    var areas: [RegionInfo.Area]?
    var end: UInt64 = 0
    if Bool.random(using: &self) {
      areas = (0..<next() % 8).map { _ in
        let area = RegionInfo.Area(offset: end + number(bits: 20), size: number(bits: 20) + 1)
        end = area.offset + area.size
        return area
      }
      areas?.shuffle(using: &self)
    }
    return RegionInfo(
      flags: .init(rawValue: UInt32(next() % 8)), index: UInt32(next() % 9),
      regionSize: end + number(bits: 40), fileOffset: number(bits: 40), areas: areas)
  }

  mutating func irqSet() -> IRQSet {
    let start = UInt32(next() % 2048)
    let count = 1 + UInt32(next() % UInt64(IRQSet.mostVectors - start))
    var data = IRQSet.Data.none
    switch next() % 3 {
    case 0: data = .eventfds
    case 1: data = .bools((0..<count).map { _ in Bool.random(using: &self) })
    default: break
    }
    let action = IRQSet.Action.allCases[Int(next() % 3)]
    let hasNone = action == .trigger && data == .none && Bool.random(using: &self)
    return IRQSet(
      action: action, data: data, index: UInt32(next() % 5), start: start, count: hasNone ? 0 : count)
  }

  mutating func regionAccess() -> RegionAccess {
    let (region, offset) = (UInt32(next() % 9), number(bits: 63))
    return Bool.random(using: &self)
      ? RegionAccess(region: region, offset: offset, count: UInt32(truncatingIfNeeded: next()))
      : RegionAccess(region: region, offset: offset, data: bytes(Int(next() % 64)))
  }

  mutating func dmaTransfer() -> DMATransfer {
    Bool.random(using: &self)
      ? DMATransfer(range()) : DMATransfer(address: number(bits: 63), data: bytes(1 + Int(next() % 64)))
  }
}

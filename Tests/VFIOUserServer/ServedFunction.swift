// SPDX-License-Identifier: Apache-2.0

package import Linux
import VFIOUser

/// A PCI function: configuration space, BARs, ROM and the MSI-X table around the registers of a device.
package final class ServedFunction<Logic: DeviceLogic> {
  /// The registers of the device.
  package let logic: Logic
  /// The mappable memory of each BAR that has some.
  let memory: [Int: SharedMemory]
  private(set) var config: ConfigSpace
  private var table: [UInt8]
  private let bars: [Int: BARLayout]

  /// The number of regions (VFIO_PCI_NUM_REGIONS).
  static var regionCount: Int { 9 }
  private static var romRegion: Int { 6 }
  private static var configRegion: Int { 7 }

  /// Creates a function after a reset.
  package init(_ logic: Logic) throws(KernelError) {
    self.logic = logic
    bars = Dictionary(uniqueKeysWithValues: logic.bars.map { ($0.index, $0) })
    config = ConfigSpace(logic.identity, logic.bars, romSize: logic.rom.count)
    table = [UInt8](repeating: 0, count: 16 * (logic.identity.msix?.vectors ?? 0))
    var memory: [Int: SharedMemory] = [:]
    for bar in logic.bars where !bar.mappable.isEmpty {
      memory[bar.index] = try SharedMemory(size: (bar.size + 4095) & ~4095)
    }
    self.memory = memory
    logic.attach(memory)
  }

  /// The number of vectors of each kind (VFIO_PCI_*_IRQ_INDEX).
  var vectors: [Int] { [1, logic.identity.msiVectors, logic.identity.msix?.vectors ?? 0, 0, 0] }

  /// Returns the size of a region in bytes, 0 if the device does not have it.
  func size(of region: Int) -> Int {
    switch region {
    case Self.romRegion: logic.rom.count
    case Self.configRegion: ConfigSpace.size
    default: bars[region]?.size ?? 0
    }
  }

  /// Returns the reply to DEVICE_GET_REGION_INFO.
  func info(_ region: Int) -> RegionInfo {
    let size = size(of: region)
    var flags: RegionInfo.Flags = size == 0 ? [] : [.read, .write]
    if region == Self.romRegion { flags.remove(.write) }
    guard let bar = bars[region], !bar.mappable.isEmpty else {
      return RegionInfo(flags: flags, index: UInt32(region), regionSize: UInt64(size))
    }
    flags.insert(.mappable)
    let areas = bar.mappable.map { RegionInfo.Area(offset: UInt64($0.lowerBound), size: UInt64($0.count)) }
    return RegionInfo(
      flags: flags, index: UInt32(region), regionSize: UInt64(size),
      areas: bar.mappable == [0..<bar.size] ? nil : areas)
  }

  /// True if the bytes are within the region.
  func contains(_ region: UInt32, _ offset: UInt64, _ count: Int) -> Bool {
    let size = region < Self.regionCount ? size(of: Int(region)) : 0
    return count > 0 && count <= size && offset <= UInt64(size - count)
  }

  /// Reads bytes that are within the region.
  func read(_ region: Int, _ offset: Int, _ count: Int) -> [UInt8] {
    switch region {
    case Self.romRegion: Array(logic.rom[offset..<offset + count])
    case Self.configRegion: config.read(offset, count)
    default:
      if let at = tableOffset(region, offset, count) {
        Array(table[at..<at + count])
      } else if isMemory(region, offset, count), let memory = memory[region] {
        memory.read(offset, count)
      } else {
        logic.read(bar: region, offset, count)
      }
    }
  }

  /// Writes bytes that are within the region. Returns true if the function was reset.
  func write(_ region: Int, _ offset: Int, _ bytes: [UInt8], _ port: some DevicePort) -> Bool {
    switch region {
    case Self.romRegion: break
    case Self.configRegion:
      guard config.write(offset, bytes) else { return false }
      reset()
      return true
    default:
      if let at = tableOffset(region, offset, bytes.count) {
        table.replaceSubrange(at..<at + bytes.count, with: bytes)
      } else if isMemory(region, offset, bytes.count), let memory = memory[region] {
        memory.write(offset, bytes)
      } else {
        logic.write(bar: region, offset, bytes, port)
      }
    }
    return false
  }

  private func isMemory(_ region: Int, _ offset: Int, _ count: Int) -> Bool {
    bars[region]?.mappable.contains { $0.contains(offset) && offset + count <= $0.upperBound } ?? false
  }

  /// Returns the offset in the MSI-X table, or nil if the access is elsewhere.
  private func tableOffset(_ region: Int, _ offset: Int, _ count: Int) -> Int? {
    guard let msix = logic.identity.msix, msix.bar == region, offset >= msix.offset,
      offset + count <= msix.offset + table.count
    else { return nil }
    return offset - msix.offset
  }

  /// True if an access begins in the pending bits of MSI-X.
  func isPending(_ access: RegionAccess) -> Bool {
    guard let msix = logic.identity.msix, msix.bar == Int(access.region) else { return false }
    return access.offset >= UInt64(msix.pendingOffset)
  }

  /// Sets Interrupt Status of STATUS.
  func setInterruptStatus(_ isAsserted: Bool) { config.hasInterruptStatus = isAsserted }

  /// Resets the function. Mappable memory is zero after it.
  package func reset() {
    config = ConfigSpace(logic.identity, logic.bars, romSize: logic.rom.count)
    table = [UInt8](repeating: 0, count: table.count)
    for one in memory.values { one.clear() }
    logic.reset()
  }
}

// SPDX-License-Identifier: Apache-2.0

/// A model of the memory slots and IOMMU mappings of a VM. It counts them, and refuses any beyond the limits.
struct FakeKernel {
  /// KVM_CAP_NR_MEMSLOTS (Linux x86: KVM_USER_MEM_SLOTS, SHRT_MAX - 3).
  var slotLimit = 32764
  /// The default of dma_entry_limit.
  var mappingLimit = 65535

  private(set) var slots = 0
  private(set) var mappings: [UInt64: (range: Range<UInt64>, page: IOMMUTables.Page)] = [:]
  private(set) var tables = IOMMUTables()
  /// Bytes of pinned RAM.
  private(set) var pinned: UInt64 = 0
  /// Bytes of BARs that are mapped for peers.
  private(set) var reachable: UInt64 = 0
  /// The number of refusals.
  private(set) var refusals = 0
  /// The work since ``restart()``.
  private(set) var work = Work()

  /// Work that takes time.
  struct Work: Equatable {
    var slotChanges = 0
    var maps = 0
    var unmaps = 0
    var mappedBytes: UInt64 = 0
    var unmappedBytes: UInt64 = 0
  }

  /// Sets the counts of work to zero.
  mutating func restart() { work = Work() }

  /// Adds a memory slot. Returns false if none is left.
  mutating func addSlot() -> Bool {
    guard slots < slotLimit else {
      refusals += 1
      return false
    }
    slots += 1
    work.slotChanges += 1
    return true
  }

  mutating func removeSlot() {
    slots -= 1
    work.slotChanges += 1
  }

  /// Pins a piece of RAM with pages of one size.
  mutating func pin(_ range: Range<UInt64>, _ page: IOMMUTables.Page) {
    guard map(range, page) else { return }
    pinned += range.upperBound - range.lowerBound
  }

  /// Maps windows for peers. Returns false if no mapping is left, or if a mapping begins at the same address.
  mutating func map(windows range: Range<UInt64>) -> Bool {
    guard map(range, IOMMUTables.Page(contiguous: range)) else { return false }
    let size = range.upperBound - range.lowerBound
    reachable += size
    work.maps += 1
    work.mappedBytes += size
    return true
  }

  /// Removes all mappings of a range. Counts a refusal if they do not fill the range.
  mutating func unmap(windows range: Range<UInt64>) {
    var start = range.lowerBound
    while let mapping = mappings.removeValue(forKey: start) {
      tables.unmap(mapping.range, mapping.page)
      start = mapping.range.upperBound
      if start >= range.upperBound { break }
    }
    guard start == range.upperBound else {
      refusals += 1
      return
    }
    let size = range.upperBound - range.lowerBound
    reachable -= size
    work.unmaps += 1
    work.unmappedBytes += size
  }

  private mutating func map(_ range: Range<UInt64>, _ page: IOMMUTables.Page) -> Bool {
    guard mappings.count < mappingLimit, mappings[range.lowerBound] == nil else {
      refusals += 1
      return false
    }
    mappings[range.lowerBound] = (range, page)
    tables.map(range, page)
    return true
  }
}

/// The duration of work in seconds, from measurements in the lab on kernels 6.12 and 7.2. The lab's machine
/// is emulated, so that only ratios are meaningful. The unit costs, in ms, are the durations of
/// VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA of the mmap of a BAR of 16 GiB.
extension FakeKernel.Work {
  /// 4749 for the map, for any number of pieces: the kernel looks up every page of 4 KiB.
  var mapping612: Double { Double(mappedBytes) / Double(16 << 30) * 4749 / 1000 }
  /// 0.2 for a map of any size: the kernel looks up huge pages.
  var mapping72: Double { Double(maps) * 0.2 / 1000 }
  /// 507 for the unmap.
  var unmapping612: Double { Double(unmappedBytes) / Double(16 << 30) * 507 / 1000 }
  /// 416 for the unmap.
  var unmapping72: Double { Double(unmappedBytes) / Double(16 << 30) * 416 / 1000 }

  static func - (left: Self, right: Self) -> Self {
    Self(
      slotChanges: left.slotChanges - right.slotChanges, maps: left.maps - right.maps,
      unmaps: left.unmaps - right.unmaps,
      mappedBytes: left.mappedBytes - right.mappedBytes,
      unmappedBytes: left.unmappedBytes - right.unmappedBytes)
  }
}

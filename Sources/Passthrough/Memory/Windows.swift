// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Seams

/// A piece of a BAR that can be mapped into the guest.
struct Window {
  /// The BAR.
  let bar: Int
  /// The offset of its first byte in the BAR; bytes.
  let offset: UInt64
  /// Bytes; a multiple of the page size.
  let size: UInt64
  /// The host virtual address of its mapping.
  let host: UInt64
  /// The memory slot while the window is open, or nil. Of several windows in one slot, the first has its
  /// number.
  var slot: UInt32?
  /// The IOVA in each I/O address space, or nil if the window is not mapped there.
  var ioAddresses: [UInt64?]
  /// The gate generation in which the window was last refused a slot, or nil.
  var refusedAt: UInt64?
  /// The GPA while the window is open.
  var mappedAt: UInt64 = 0
  /// True if the window has ever been open.
  var hasEverOpened = false
}

/// The windows into which the BARs of a device are cut.
struct WindowLayout {
  private(set) var windows: [Window] = []
  /// The first BAR with an area that could not be mapped, and the cause, or nil if all areas were mapped.
  private(set) var failure: (bar: Int, error: OperationError)?
  /// For each window, true if it begins where the window before it ends, in the BAR and in the host's memory.
  var adjoins: [Bool] {
    windows.indices.map { index in
      guard index > 0 else { return false }
      let (before, window) = (windows[index - 1], windows[index])
      return before.bar == window.bar && before.offset + before.size == window.offset
        && before.host + before.size == window.host
    }
  }

  /// Maps the mappable areas of each memory BAR into this process, without the pages of the MSI-X structures,
  /// and cuts them into windows.
  ///
  /// An area that the kernel refuses to map has no window, and its accesses are trapped. The kernel returns
  /// EBUSY if a driver of the host claims the BAR, for instance the driver of the boot frame buffer
  /// (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_core_mmap).
  ///
  /// - Parameters:
  ///   - device: The open device.
  ///   - bars: The BARs of the device. I/O BARs and the expansion ROM get no windows.
  ///   - msix: The layout of the MSI-X structures, or nil if the device has none.
  ///   - spaces: The number of I/O address spaces.
  ///   - most: The maximum number of windows per BAR, before the MSI-X structures split any; see
  ///     `WindowBudget`.
  init(
    _ device: some PCIDevice, bars: [BAR], msix: MSIXTable.Layout?, spaces: Int, most: Int
  ) {
    for bar in bars where bar.kind != .io && bar.kind != .rom {
      guard let region = device.region(bar.index) else { continue }
      var reserved: [Range<UInt64>] = []
      if let msix { reserved = [msix.table(in: bar.index), msix.pending(in: bar.index)].compactMap { $0 } }
      for area in WindowCuts.areas(region.mappable, barSize: region.size, without: reserved) {
        let host: UInt64
        do throws(OperationError) { host = try device.map(bar.index, area) } catch {
          failure = failure ?? (bar.index, error)
          continue
        }
        for piece in WindowCuts.pieces(of: area, barSize: bar.size, most: most) {
          windows.append(
            Window(
              bar: bar.index, offset: piece.lowerBound, size: piece.upperBound - piece.lowerBound,
              host: host + (piece.lowerBound - area.lowerBound),
              ioAddresses: [UInt64?](repeating: nil, count: spaces)))
        }
      }
    }
  }

}

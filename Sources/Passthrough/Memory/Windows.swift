// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Seams

/// A piece of a BAR that can be mapped into the guest.
struct Window {
  /// The BAR.
  let bar: Int
  /// Where in the BAR it begins; bytes.
  let offset: UInt64
  /// Bytes; a multiple of the page size.
  let size: UInt64
  /// Host virtual address of its mapping.
  let host: UInt64
  /// The memory slot, while it is open; in the first of the windows that share one.
  var slot: UInt32?
  /// The I/O address in each address space, while devices there can reach it.
  var ioAddresses: [UInt64?]
  /// The gate generation in which the window got no slot.
  var refusedAt: UInt64?
  /// The guest-physical address, while it is open.
  var mappedAt: UInt64 = 0
  /// Whether it has been open before.
  var hasEverOpened = false
}

/// Cuts the BARs of a device into windows.
struct WindowLayout {
  private(set) var windows: [Window] = []
  /// The first BAR of which a part could not be mapped, and why; nil if all could.
  private(set) var failure: (bar: Int, error: OperationError)?
  /// For each window, whether it begins where the one before it ends.
  var adjoins: [Bool] {
    windows.indices.map { index in
      guard index > 0 else { return false }
      let (before, window) = (windows[index - 1], windows[index])
      return before.bar == window.bar && before.offset + before.size == window.offset
        && before.host + before.size == window.host
    }
  }

  /// Maps what can be mapped of each memory BAR, less the pages of the MSI-X structures. An area that the kernel does
  /// not map has no window, so that its accesses are trapped: EBUSY if a driver of the host claims the BAR, such as that
  /// of the boot frame buffer (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_core_mmap).
  ///
  /// - Parameters:
  ///   - spaces: How many I/O address spaces there are.
  ///   - most: How many windows a BAR may have, but for what the MSI-X structures cut; see ``WindowBudget``.
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

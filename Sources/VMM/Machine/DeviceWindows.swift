// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import PCI

/// The guest-physical address ranges for the BARs of a VM's devices.
enum DeviceWindows {
  /// Returns the problem of the first device that prevents RAM in the guest's first MiB, or nil. No guest can
  /// start without this RAM.
  ///
  /// - Parameters:
  ///   - devices: The devices of the VM, with the IOVAs that their groups cannot use.
  ///   - pageSize: The page size of guest RAM in bytes. A reserved address excludes a whole page.
  static func startProblem(_ devices: [ReadyDevice], pageSize: UInt64) -> HostProblem? {
    for device in devices {
      guard let hole = device.reserved.first(where: { $0.lowerBound & ~(pageSize - 1) < 1 << 20 }) else {
        continue
      }
      return hole.lowerBound < 1 << 20
        ? .reservedStart(device: device.address, group: device.group, hole)
        : .reservedPage(device: device.address, group: device.group, hole, pageSize: pageSize)
    }
    return nil
  }

  /// Returns the largest part of a range of GPAs without a reserved address.
  static func largest(_ range: Range<UInt64>, without reserved: [ClosedRange<UInt64>]) -> Range<UInt64> {
    var parts = [range]
    for hole in reserved {
      parts = parts.flatMap { part -> [Range<UInt64>] in
        guard hole.lowerBound < part.upperBound, hole.upperBound >= part.lowerBound else { return [part] }
        let before = part.lowerBound..<max(part.lowerBound, hole.lowerBound)
        let after = hole.upperBound == .max ? part.upperBound : hole.upperBound + 1
        return [before, min(after, part.upperBound)..<part.upperBound]
      }
    }
    return parts.max { $0.upperBound - $0.lowerBound < $1.upperBound - $1.lowerBound } ?? range
  }

  /// Returns the address range for a kind of BAR. The ranges below 4 GiB are fixed.
  static func range(of kind: BAR.Kind, memory64: Range<UInt64>) -> Range<UInt64> {
    switch kind {
    case .io: PlatformLayout.ioWindow
    case .memory32, .rom: PlatformLayout.pciWindow32
    case .memory64: memory64
    }
  }
}

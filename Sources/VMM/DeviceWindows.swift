// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import GuestMemory
internal import PCI

/// The guest-physical addresses that a VM has for the BARs of its devices.
enum DeviceWindows {
  /// Why no guest can start with these devices; nil if none of them takes RAM from the first MiB.
  ///
  /// - Parameter pageSize: Of guest RAM, in bytes. A reserved address takes a whole page.
  static func startProblem(_ hosts: [ReadyDevice], pageSize: UInt64) -> String? {
    for host in hosts {
      guard let hole = host.reserved.first(where: { $0.lowerBound & ~(pageSize - 1) < 1 << 20 }) else {
        continue
      }
      let range = "\(GuestAddress(hole.lowerBound))–\(GuestAddress(hole.upperBound))"
      return hole.lowerBound < 1 << 20
        ? "device \(host.address): the host reserves the I/O addresses \(range) of IOMMU group \(host.group), and a guest "
          + "needs RAM there to start; the firmware demands them for the device (RMRR): turn its legacy support off "
          + "in the firmware, or use another device"
        : "device \(host.address): the host reserves the I/O addresses \(range) of IOMMU group \(host.group), which take "
          + "the page of \(pageSize >> 20) MiB from which a guest starts; give smaller pages (--memory SIZE,hugepages=2M)"
    }
    return nil
  }

  /// The largest part of a range of GPAs that holds no reserved address.
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

  private static func name(_ bar: BaseAddress) -> String {
    bar.kind == .rom ? "the ROM" : "BAR \(bar.index)"
  }

  /// Why a BAR gets no address, and the remedy. The windows below 4 GiB are fixed.
  static func noRoom(for bar: BaseAddress, memory64: Range<UInt64>) -> String {
    let size = bar.size >= 1 << 20 ? "\(bar.size >> 20) MiB" : "\(bar.size) bytes"
    let name = "\(name(bar)) of \(size)"
    func text(_ window: Range<UInt64>) -> String {
      "0x\(String(window.lowerBound, radix: 16))-0x\(String(max(window.upperBound, 1) - 1, radix: 16))"
    }
    switch bar.kind {
    case .io:
      return
        "\(name) does not fit beside the others in the guest's I/O ports \(text(PlatformLayout.ioWindow)); give fewer devices"
    case .memory32, .rom:
      return "\(name) takes addresses of 32 bits and does not fit beside the others in "
        + "\(text(PlatformLayout.pciWindow32)); give fewer devices"
    case .memory64:
      return
        "\(name) does not fit in the guest-physical addresses \(text(memory64)) that the processor and the IOMMU "
        + "translate above guest RAM; give fewer devices or a smaller --memory"
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// A fault that the lab builds into vfio-pci-core. A case must fail in an L1 with the fault.
enum ModuleMutant: String, CaseIterable, Codable, Sendable {
  /// The mappings of BARs stay when the memory bit goes off or the device is reset.
  case noZap = "no-zap"
  /// The dma-bufs of BARs stay mapped when the memory bit goes off or the device is reset.
  case noRevoke = "no-revoke"

  /// The first version of Linux whose source has the code.
  var firstVersion: KernelVersion {
    switch self {
    case .noZap: IOMMUFDModules.firstVersion
    case .noRevoke: KernelVersion(6, 19)
    }
  }

  /// A replacement of text in a file of the kernel's source.
  struct Replacement: Equatable, Sendable {
    let old: String
    let new: String

    /// Returns the text with the replacement, or nil unless the old text occurs exactly once.
    func applied(to text: String) -> String? {
      let ranges = text.ranges(of: old)
      guard ranges.count == 1 else { return nil }
      return text.replacing(old, with: new)
    }
  }

  private var file: String {
    switch self {
    case .noZap: "drivers/vfio/pci/vfio_pci_core.c"
    case .noRevoke: "drivers/vfio/pci/vfio_pci_dmabuf.c"
    }
  }

  private static let move = "vfio_pci_dma_buf_move"

  var replacements: [Replacement] {
    switch self {
    case .noZap:
      [
        Replacement(
          old: "unmap_mapping_range(core_vdev->inode->i_mapping, start, len, true);",
          new: "(void)core_vdev, (void)start, (void)len;")
      ]
    case .noRevoke:
      // The cleanup at the close of the device still needs the function.
      [
        Replacement(
          old: "\nvoid \(Self.move)(struct vfio_pci_core_device *vdev, bool revoked)\n{\n",
          new: """

            void \(Self.move)(struct vfio_pci_core_device *vdev, bool revoked)
            {
            }

            static void lab_dma_buf_move(struct vfio_pci_core_device *vdev, bool revoked)
            {

            """),
        Replacement(old: "\t\(Self.move)(vdev, true);\n", new: "\tlab_dma_buf_move(vdev, true);\n"),
      ]
    }
  }

  /// Changes the source.
  func patch(_ source: URL) throws {
    let path = source.appending(path: file)
    var text = try String(contentsOf: path, encoding: .utf8)
    for one in replacements {
      guard let next = one.applied(to: text) else {
        throw LabError(
          "mutant \(rawValue): \(file): '\(one.old.trimmingCharacters(in: .newlines))' does not occur exactly "
            + "once; compare the file with ModuleMutant")
      }
      text = next
    }
    try Data(text.utf8).write(to: path)
  }
}

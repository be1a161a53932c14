// SPDX-License-Identifier: Apache-2.0

import Linux
import Seams
import Testing

@testable import VFIO

/// Answers of VFIO_IOMMU_GET_INFO.
@Suite struct ContainerLimitsTests {
  /// struct vfio_iommu_type1_info (argsz, flags, iova_pgsizes, cap_offset), then capabilities.
  private static func answer(flags: UInt8, _ capabilities: [[UInt32]]) throws -> InfoBuffer {
    var words: [UInt32] = [0, UInt32(flags), 0, 0, capabilities.isEmpty ? 0 : 24, 0]
    for (index, capability) in capabilities.enumerated() {
      let next = index + 1 < capabilities.count ? UInt32((words.count + capability.count + 1) * 4) : 0
      words += [capability[0], next] + capability.dropFirst()
    }
    let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32($0 * 8)) } }
    // SAFETY: the buffer has at least 256 bytes, and no answer here has more.
    return try unsafe InfoBuffer { buffer throws(KernelError) in
      for (index, byte) in bytes.enumerated() { unsafe buffer[index] = byte }
      return Int32(bytes.count)
    }
  }

  // The low half of the first word is the ID, the high half is the version.
  private static let available: [UInt32] = [0x1_0003, 512]
  private static let ranges: [UInt32] = [
    0x1_0001, 2, 0, 0, 0, 0xFEDF_FFFF, 0, 0xFEF0_0000, 0, 0xFFFF_FFFF, 0x7F,
  ]

  @Test("the IOVA ranges and the number of available mappings are read")
  func both() throws {
    let limits = IOLimits(try Self.answer(flags: 2, [Self.ranges, Self.available])) { "7" }
    #expect(limits.ranges == [0...0xFEDF_FFFF, 0xFEF0_0000...0x7F_FFFF_FFFF])
    #expect(limits.mappings == 512)
  }

  @Test("without the capability, the limit is the module's parameter or the default")
  func absent() throws {
    let answer = try Self.answer(flags: 2, [Self.ranges])
    #expect(IOLimits(answer) { "1000" }.mappings == 1000)
    #expect(IOLimits(answer) { nil }.mappings == 65535)
    #expect(IOLimits(answer) { "many" }.mappings == 65535)
  }

  @Test("without the flag there are no capabilities, whatever the offset is")
  func noFlag() throws {
    let limits = IOLimits(try Self.answer(flags: 0, [Self.ranges, Self.available])) { nil }
    #expect(limits.ranges.isEmpty)
    #expect(limits.mappings == 65535)
  }
}

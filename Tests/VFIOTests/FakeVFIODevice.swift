// SPDX-License-Identifier: Apache-2.0

import Linux

@testable import VFIO

/// Containers, groups and devices on descriptors of the fake kernel.
extension FakeVFIO {
  /// The address of every device.
  static let address = "0000:01:00.0"

  func container() throws -> Container { try Container(try open(.container)) }

  func group(_ number: String = "7", isFirst: Bool = true) throws -> Group {
    try Group(
      try open(.group), number: number, device: Self.address, container: try container(), isFirst: isFirst)
  }

  /// Opens the device of the first of some groups.
  func device(_ groups: [Group], token: String? = nil) throws -> Device {
    try Device(address: Self.address, group: groups[0], groups: groups, token: token)
  }

  /// Opens a device of a VM with two groups.
  func device(token: String? = nil) throws -> Device {
    try device([try group("7"), try group("9", isFirst: false)], token: token)
  }
}

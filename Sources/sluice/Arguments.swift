// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import PCI

/// A size of memory: `512M`, `2G`; a plain number counts MiB, as QEMU has it.
struct MemorySize: ExpressibleByArgument, CustomStringConvertible {
  let bytes: UInt64

  init(bytes: UInt64) { self.bytes = bytes }

  init?(argument: String) {
    var digits = Substring(argument)
    var shift: UInt64 = 20
    if let unit = argument.last, !unit.isNumber {
      switch unit {
      case "k", "K": shift = 10
      case "m", "M": shift = 20
      case "g", "G": shift = 30
      case "t", "T": shift = 40
      default: return nil
      }
      digits = digits.dropLast()
    }
    guard digits.allSatisfy(\.isNumber), let number = UInt64(digits),
      number <= UInt64.max >> shift
    else { return nil }
    bytes = number << shift
  }

  var description: String { "\(bytes >> 20)M" }
}

/// A host device as an argument: its address, and options after commas.
struct DeviceArgument: ExpressibleByArgument {
  let address: Address

  init?(argument: String) {
    guard let address = Address(argument) else { return nil }
    self.address = address
  }
}

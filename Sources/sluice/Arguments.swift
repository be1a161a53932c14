// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Gate
import GuestMemory
import PCI
import Passthrough

/// `--memory`: a size and what stands behind it: `512M`, `64G,hugepages=1G,prealloc,node=1`.
struct MemoryArgument: Equatable {
  var bytes: UInt64 = 512 << 20
  var backing = GuestMemory.Backing.transparentHugePagesIfAvailable
  var isPreallocated = false
  var node: Int?

  /// Reads the argument; a plain number counts MiB, as QEMU has it.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard let size = Self.size(parts[0]) else {
      throw ValidationError("'\(parts[0])' is no size; write it as 512M or 4G")
    }
    bytes = size
    for part in parts.dropFirst() { try take(part) }
  }

  private mutating func take(_ option: Substring) throws {
    let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let value = pair.count == 2 ? pair[1] : ""
    switch pair[0] {
    case "hugepages":
      switch value {
      case "2M": backing = .hugePages(shift: 21)
      case "1G": backing = .hugePages(shift: 30)
      case "thp": backing = .transparentHugePages
      case "off": backing = .memfd
      default: throw ValidationError("hugepages: '\(value)' is none of 2M, 1G, thp and off")
      }
    case "prealloc" where pair.count == 1: isPreallocated = true
    case "node":
      guard let number = Int(decimal: value) else {
        throw ValidationError("node: '\(value)' is no number of a NUMA node; write it as node=0")
      }
      node = number
    default:
      throw ValidationError(
        "'\(option)' is not an option of memory; there are hugepages=, prealloc and node=")
    }
  }

  /// The default.
  init() {}

  private static func size(_ text: Substring) -> UInt64? {
    var digits = text
    var shift: UInt64 = 20
    if let unit = text.last, !unit.isNumber {
      switch unit {
      case "k", "K": shift = 10
      case "m", "M": shift = 20
      case "g", "G": shift = 30
      case "t", "T": shift = 40
      default: return nil
      }
      digits = digits.dropLast()
    }
    guard digits.allSatisfy(\.isNumber), let number = UInt64(digits), number <= UInt64.max >> shift
    else { return nil }
    return number << shift
  }
}

/// `--cpu-pin`: vCPUs and the processors of the host that they stay on: `0:2,1:3`.
struct CPUPinArgument: Equatable {
  private(set) var pins: [Int: Int] = [:]

  /// Reads the argument.
  init(_ argument: String) throws {
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: ":", omittingEmptySubsequences: false)
      guard pair.count == 2, let cpu = Int(decimal: pair[0]), let processor = Int(decimal: pair[1]) else {
        throw ValidationError(
          "'\(part)' is no pair of a vCPU and a processor of the host; write them as 0:2,1:3")
      }
      guard pins.updateValue(processor, forKey: cpu) == nil else {
        throw ValidationError("vCPU \(cpu) is named twice; it can stay on one processor only")
      }
    }
  }

  /// No vCPU stays anywhere.
  init() {}
}

extension Int {
  /// A number of decimal digits alone.
  fileprivate init?(decimal text: Substring) {
    guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
    self.init(text)
  }
}

/// A host device as an argument: its address, and options after commas.
struct DeviceArgument: Equatable {
  let address: Address
  private(set) var policies = DevicePolicies()
  /// The VF token, a UUID as text.
  private(set) var token: String?

  /// Reads the argument.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    address = try Self.address(parts[0])
    for part in parts.dropFirst() { try take(part) }
  }

  private static func address(_ text: Substring) throws -> Address {
    guard let address = Address(String(text)) else {
      throw ValidationError(
        "'\(text)' is no PCI address; write it as 0000:01:00.0 ('sluice devices' lists them)")
    }
    return address
  }

  private mutating func take(_ option: Substring) throws {
    let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let value = pair.count == 2 ? String(pair[1]) : ""
    switch pair[0] {
    case "bar-map":
      guard let policy = MappingPolicy(rawValue: value) else {
        throw ValidationError("bar-map: '\(value)' is none of on-fault, on-enable and eager")
      }
      policies.barMap = policy
    case "peer-dma": try takePeer(value)
    case "memory-bit":
      guard let policy = MemoryBitPolicy(rawValue: value) else {
        throw ValidationError("memory-bit: '\(value)' is neither forward nor shadow")
      }
      policies.memoryBit = policy
    case "vf-token":
      guard Self.isUUID(value) else {
        throw ValidationError(
          "vf-token: '\(value)' is no UUID; write it as 2ab74924-c335-45f4-9b16-8569e5b08258")
      }
      token = value
    default:
      throw ValidationError(
        "'\(option)' is not an option of a device; there are bar-map, peer-dma, memory-bit and vf-token")
    }
  }

  /// True for 8-4-4-4-12 hexadecimal digits (RFC 9562 §4).
  private static func isUUID(_ text: String) -> Bool {
    let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    return parts.map(\.count) == [8, 4, 4, 4, 12]
      && parts.joined().allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte & ~0x20)
      }
  }

  /// `POLICY`, or `POLICY@ADDRESS` for one peer.
  private mutating func takePeer(_ value: String) throws {
    let parts = value.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    guard let policy = PeerPolicy(String(parts[0])) else {
      throw ValidationError("peer-dma: '\(parts[0])' is none of on-fault, on-enable, eager and off")
    }
    if parts.count == 2 {
      policies.peers[try Self.address(parts[1]).description] = policy
    } else {
      policies.peerDMA = policy
    }
  }
}

/// An argument that a command cannot do without. For the parser it is optional: the parser would otherwise
/// report its absence before an option that does not exist. Commands ask for it in `run`, after the parser.
///
/// - Throws: `ValidationError` with the demand if it is absent.
func required<Value>(_ value: Value?, _ demand: String) throws -> Value {
  guard let value else { throw ValidationError(demand) }
  return value
}

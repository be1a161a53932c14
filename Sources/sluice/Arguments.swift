// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Gate
import GuestMemory
import PCI
import Passthrough
import VFIO
import VMM

/// `--memory`: the size of guest RAM and its options, such as `512M` or `64G,hugepages=1G,prealloc,node=1`.
struct MemoryArgument: Equatable {
  var bytes: UInt64 = 512 << 20
  var backing = GuestMemory.Backing.transparentHugePagesIfAvailable
  var isPreallocated = false
  var isShared = false
  var node: Int?

  /// Creates the value from the argument. A number without a unit is in MiB, as in QEMU.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard let size = Self.size(parts[0]) else {
      throw ValidationError("'\(parts[0])' is not a size; give a number with K, M, G or T, such as 512M")
    }
    bytes = size
    for part in parts.dropFirst() { try parseOption(part) }
  }

  private mutating func parseOption(_ option: Substring) throws {
    let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let value = pair.count == 2 ? pair[1] : ""
    switch pair[0] {
    case "hugepages":
      switch value {
      case "2M": backing = .hugePages(shift: 21)
      case "1G": backing = .hugePages(shift: 30)
      case "thp": backing = .transparentHugePages
      case "off": backing = .memfd
      default: throw ValidationError("hugepages: unknown value '\(value)'; give 2M, 1G, thp or off")
      }
    case "prealloc" where pair.count == 1: isPreallocated = true
    case "shared" where pair.count == 1: isShared = true
    case "node":
      guard let number = Int(decimal: value) else {
        throw ValidationError("node: '\(value)' is not a node number; give one such as node=0")
      }
      node = number
    default:
      throw ValidationError(
        "'\(option)' is not a memory option; give hugepages=, prealloc, shared or node=")
    }
  }

  /// Creates the default.
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

/// `--cpu-pin`: the host processor of each pinned vCPU, such as `0:2,1:3`.
struct CPUPinArgument: Equatable {
  private(set) var pins: [Int: Int] = [:]

  /// Creates the value from the argument.
  init(_ argument: String) throws {
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: ":", omittingEmptySubsequences: false)
      guard pair.count == 2, let cpu = Int(decimal: pair[0]), let processor = Int(decimal: pair[1]) else {
        throw ValidationError(
          "'\(part)' is not a vCPU and a host processor; give pairs such as 0:2,1:3")
      }
      guard pins.updateValue(processor, forKey: cpu) == nil else {
        throw ValidationError("vCPU \(cpu) is pinned twice; give one processor for each vCPU")
      }
    }
  }

  /// Creates the default, which pins no vCPU.
  init() {}
}

/// `--stop-timeout`: a time in seconds.
enum StopTimeoutArgument {
  /// Returns the number of seconds, at least 1.
  static func seconds(_ argument: String) throws -> Int { try seconds(argument, least: 1) }

  /// Returns the number of seconds, which may be 0.
  static func orZero(_ argument: String) throws -> Int { try seconds(argument, least: 0) }

  private static func seconds(_ argument: String, least: Int) throws -> Int {
    let longest = Configuration.maxStopTimeout
    guard let seconds = Int(decimal: argument[...]), least...longest ~= seconds else {
      throw ValidationError("'\(argument)' is not a time in seconds; give \(least) to \(longest)")
    }
    return seconds
  }
}

extension Int {
  /// Creates a number from decimal digits, or returns nil for any other text.
  fileprivate init?(decimal text: Substring) {
    guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
    self.init(text)
  }
}

/// `--port-window`: the sizes of a port's memory windows, such as `16M,64G`.
struct PortWindowArgument: Equatable {
  let size: PortWindow

  /// Creates the value from the argument.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw ValidationError(
        "'\(argument)' is not two sizes; give the sizes below and above 4 GiB, such as 16M,64G")
    }
    let sizes = try parts.map { try MemoryArgument(String($0)).bytes }
    for (text, size) in zip(parts, sizes) where size < PortWindow.granule || size & (size - 1) != 0 {
      throw ValidationError("'\(text)' is not a power of two of at least 1M; give a size such as 16M")
    }
    size = PortWindow(memory32: sizes[0], memory64: sizes[1])
  }
}

/// A device as an argument: its address or its socket, then options after commas.
struct DeviceArgument: Equatable {
  let address: DeviceName
  private(set) var policies = DevicePolicies()
  /// The VF token (a UUID as text), or nil.
  private(set) var token: String?
  /// True if the device is behind a root port.
  private(set) var hasPort = false
  /// The time in seconds between attempts to connect to the device's process again, or nil.
  private(set) var reconnect: Int?

  /// The device of a VM's configuration.
  var assigned: Configuration.AssignedDevice {
    var device = Configuration.AssignedDevice(address, policies: policies, token: token, hasPort: hasPort)
    device.reconnect = reconnect
    return device
  }

  /// Creates the value from the argument.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    address = try Self.name(parts[0])
    for part in parts.dropFirst() { try parseOption(part) }
  }

  /// Returns the address of a device of the host.
  static func hostAddress(_ argument: String) throws -> Address {
    let device = try DeviceArgument(argument)
    guard let address = device.address.address else {
      throw ValidationError("'\(argument)' is not a device of the host; give an address such as 0000:01:00.0")
    }
    return address
  }

  private static func name(_ text: Substring) throws -> DeviceName {
    guard text.hasPrefix(DeviceName.prefix) else { return .pci(try address(text)) }
    guard let name = DeviceName(String(text)) else {
      throw ValidationError(
        "'\(text)' has no usable path; give the path of a socket, of at most \(DeviceName.maxPath) printable characters "
          + "without spaces")
    }
    return name
  }

  private static func address(_ text: Substring) throws -> Address {
    guard let address = Address(String(text)) else {
      throw ValidationError(
        "'\(text)' is not a PCI address; give one such as 0000:01:00.0 (see 'sluice devices')")
    }
    return address
  }

  private mutating func parseOption(_ option: Substring) throws {
    let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let value = pair.count == 2 ? String(pair[1]) : ""
    if address.path != nil, ["peer-dma", "vf-token"].contains(pair[0]) {
      throw ValidationError("\(pair[0]): '\(address)' is in another process; leave the option out")
    }
    switch pair[0] {
    case "bar-map":
      guard let policy = MappingPolicy(rawValue: value) else {
        throw ValidationError("bar-map: unknown policy '\(value)'; give on-fault, on-enable or eager")
      }
      policies.barMap = policy
    case "peer-dma": try parsePeerPolicy(value)
    case "memory-bit":
      guard let policy = MemoryBitPolicy(rawValue: value) else {
        throw ValidationError("memory-bit: unknown policy '\(value)'; give forward or shadow")
      }
      policies.memoryBit = policy
    case "vf-token":
      guard VFToken.bytes(value) != nil else {
        throw ValidationError(
          "vf-token: '\(value)' is not a UUID; give one such as 2ab74924-c335-45f4-9b16-8569e5b08258")
      }
      token = value
    case "port" where pair.count == 1: hasPort = true
    case "reconnect":
      guard address.path != nil else {
        throw ValidationError("reconnect: '\(address)' is a device of the host; leave the option out")
      }
      guard let seconds = Int(value), 1...3600 ~= seconds else {
        throw ValidationError("reconnect: '\(value)' is not a time in seconds; give a number from 1 to 3600")
      }
      reconnect = seconds
    default:
      throw ValidationError(
        "'\(option)' is not a device option; give bar-map=, peer-dma=, memory-bit=, vf-token=, port or reconnect="
      )
    }
  }

  /// Reads `POLICY`, or `POLICY@ADDRESS` for one peer.
  private mutating func parsePeerPolicy(_ value: String) throws {
    let parts = value.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    guard let policy = PeerPolicy(String(parts[0])) else {
      throw ValidationError("peer-dma: unknown policy '\(parts[0])'; give on-fault, on-enable, eager or off")
    }
    if parts.count == 2 {
      policies.peers[try Self.address(parts[1]).description] = policy
    } else {
      policies.peerDMA = policy
    }
  }
}

/// Returns a required argument. The parser treats it as optional, because the parser would otherwise report a
/// missing argument before an unknown option. Commands call this in `run`, after the parser.
///
/// - Throws: `ValidationError` with the message if the argument is missing.
func required<Value>(_ value: Value?, _ message: String) throws -> Value {
  guard let value else { throw ValidationError(message) }
  return value
}

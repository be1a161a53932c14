// SPDX-License-Identifier: Apache-2.0

import Gate
import PCI
import Testing

@testable import VMM

@Suite struct ConfigurationTests {
  private static func configuration(
    memory: UInt64 = 512 << 20, cpus: Int = 1, devices: [String] = []
  ) throws -> Configuration {
    var configuration = Configuration(kernel: "kernel")
    configuration.memory = memory
    configuration.cpus = cpus
    configuration.devices = try devices.map { .init(address: try #require(Address($0))) }
    return configuration
  }

  @Test("a valid configuration has no usage problem")
  func good() throws {
    #expect(Configuration(kernel: "kernel").usageProblem == nil)
    #expect(try Self.configuration(memory: 2 << 20).usageProblem == nil)
    #expect(try Self.configuration(cpus: 255).usageProblem == nil)
    let devices = (0..<31).map { "0000:01:\(String($0, radix: 16)).0" }
    #expect(try Self.configuration(devices: devices).usageProblem == nil)
  }

  @Test(
    "an invalid size of guest RAM is rejected",
    arguments: [0, 4096, 2 << 20 - 1, 512 << 20 + 1, 2 << 20 + 2048] as [UInt64])
  func memory(_ size: UInt64) throws {
    #expect(
      try Self.configuration(memory: size).usageProblem
        == (size < 2 << 20 ? .memoryTooSmall(size) : .memoryNotAligned(size, pageSize: 4096)))
  }

  @Test("an invalid number of vCPUs is rejected and named", arguments: [-1, 0, 256, Int.max])
  func cpus(_ count: Int) throws {
    #expect(try Self.configuration(cpus: count).usageProblem == .cpuCount(count))
    #expect(UsageProblem.cpuCount(count).description == "\(count) is not between 1 and 255")
  }

  @Test("more devices than PCI slots are rejected")
  func tooMany() throws {
    let devices = (0..<32).map { "0000:01:\(String($0, radix: 16)).0" }
    #expect(try Self.configuration(devices: devices).usageProblem == .deviceCount(32))
  }

  @Test("more empty ports than PCI slots beside the devices are rejected", arguments: [-1, 30])
  func tooManyPorts(_ count: Int) throws {
    var configuration = try Self.configuration(devices: ["01:00.0", "02:00.0"])
    configuration.emptyPorts = 29
    #expect(configuration.usageProblem == nil && configuration.portCount == 29)
    configuration.emptyPorts = count
    #expect(configuration.usageProblem == .portCount(count, devices: 2))
  }

  @Test("a device that is named twice is rejected, in every spelling")
  func twice() throws {
    let configuration = try Self.configuration(devices: ["01:00.0", "02:00.0", "0000:01:00.0"])
    #expect(configuration.usageProblem == .duplicate(configuration.devices[0].address))
  }

  @Test("a vCPU that is bound to a processor must exist in the VM")
  func pins() throws {
    var configuration = try Self.configuration(cpus: 2)
    configuration.cpuPins = [0: 1, 1: 1]
    #expect(configuration.usageProblem == nil)
    configuration.cpuPins = [0: 1, 5: 1, 2: 1]
    #expect(configuration.usageProblem == .pinnedCPU(2, cpus: 2))
  }

  @Test(
    "a peer must be another device of the VM", arguments: ["0000:02:00.0", "0000:03:00.0", "0000:01:00.0"])
  func peers(_ peer: String) throws {
    var configuration = try Self.configuration(devices: ["01:00.0", "02:00.0"])
    configuration.devices[0].policies.peers = [peer: .off]
    #expect(
      configuration.usageProblem
        == (peer == "0000:02:00.0" ? nil : .unknownPeer(peer, of: configuration.devices[0].address)))
  }
}

@Suite struct HostMemoryTests {
  private static let text = """
    MemTotal:        4028416 kB
    MemFree:          100000 kB
    MemAvailable:    2097152 kB
    Buffers:               0 kB
    """

  @Test("the fields are found by name and converted from KiB")
  func parse() {
    let memory = HostMemory(parsing: Self.text)
    #expect(memory.total == 4_028_416 << 10)
    #expect(memory.available == 2 << 30)
  }

  @Test(
    "missing and non-numeric fields are 0, and no guest is then rejected",
    arguments: [
      "", "MemTotal:", "MemTotal: many kB", "XMemTotal: 5 kB", "MemTotal 5 kB", "\n\n:",
    ])
  func missing(_ text: String) {
    let memory = HostMemory(parsing: text)
    #expect(memory.total == 0)
    #expect(memory.problem(guest: 3 << 40, .pinned) == nil)
  }

  @Test("a guest with resident RAM needs available memory, and any other guest only total memory")
  func problem() throws {
    let memory = HostMemory(parsing: Self.text)
    #expect(memory.problem(guest: 2 << 30, .pinned) == nil)
    #expect(memory.problem(guest: 3 << 30, .touched) == nil)
    #expect(memory.problem(guest: 3 << 30, .pinned) == .memory(size: 3 << 30, limit: 2 << 30, .pinned))
    #expect(memory.problem(guest: 3 << 30, .populated) == .memory(size: 3 << 30, limit: 2 << 30, .populated))
    #expect(
      memory.problem(guest: 3 << 40, .touched)
        == .memory(size: 3 << 40, limit: 4_028_416 << 10, .touched))
  }

  @Test("this machine has total and available memory")
  func here() throws {
    let memory = try HostMemory()
    #expect(memory.total > memory.available && memory.available > 0)
  }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Gate
import GuestMemory
import PCI
import Passthrough
import Sandbox
import Testing
import VMM

@testable import sluice

@Suite struct ArgumentsTests {
  @Test(
    "a memory size is a number with a unit, or in MiB without a unit",
    arguments: [
      ("512M", 512 << 20), ("512m", 512 << 20), ("2G", 2 << 30), ("64", 64 << 20), ("1T", 1 << 40),
      ("4096K", 4 << 20), ("0", 0), ("16777215T", 16_777_215 << 40), ("007M", 7 << 20),
    ] as [(String, UInt64)])
  func size(_ text: String, _ bytes: UInt64) throws {
    #expect(try MemoryArgument(text).bytes == bytes)
  }

  @Test(
    "an invalid memory size is refused",
    arguments: [
      "", "M", "-1", "+1", "1.5G", "1 G", " 1G", "1GB", "1GiB", "1P", "0x10", "16777216T", "½", "٣M", "1e3",
      "99999999999999999999",
    ])
  func badSize(_ text: String) {
    #expect(throws: ValidationError.self) { try MemoryArgument(text) }
  }

  @Test("--nested shows VMX or SVM to the guest")
  func nested() throws {
    #expect(try RunCommand.parse(["--kernel", "k", "--nested"]).configuration().isNested)
    #expect(try !RunCommand.parse(["--kernel", "k"]).configuration().isNested)
  }

  @Test("hugepages= selects the pages of guest RAM")
  func hugePages() throws {
    #expect(try MemoryArgument("1G,hugepages=2M").backing == .hugePages(shift: 21))
    #expect(try MemoryArgument("1G,hugepages=1G").backing == .hugePages(shift: 30))
    #expect(try MemoryArgument("1G,hugepages=off").backing == .memfd)
    #expect(try MemoryArgument("1G,hugepages=thp").backing == .transparentHugePages)
    #expect(throws: ValidationError.self) { try MemoryArgument("1G,hugepages=4K") }
    let error = #expect(throws: (any Error).self) {
      try RunCommand.parse(["--kernel", "k", "--memory", "3M,hugepages=2M"]).configuration()
    }
    #expect(error.map { RunCommand.fullMessage(for: $0) }?.contains("page size, 2048K") == true)
  }

  @Test("prealloc and node= set population and NUMA node")
  func memoryOptions() throws {
    #expect(try MemoryArgument("1G") == MemoryArgument("1024M"))
    #expect(try MemoryArgument("1G").backing == .transparentHugePagesIfAvailable)
    let all = try MemoryArgument("64G,hugepages=1G,prealloc,node=1")
    #expect(all.bytes == 64 << 30 && all.backing == .hugePages(shift: 30))
    #expect(all.isPreallocated && all.node == 1)
    #expect(try !MemoryArgument("1G,node=0").isPreallocated)
  }

  @Test(
    "the error for a wrong memory option names it and the valid ones",
    arguments: [
      ("prealloc=on", "'prealloc=on' is not a memory option"), ("prealloc=", "prealloc"), ("node=", "node=0"),
      ("node", "node=0"), ("node=-1", "'-1'"), ("node=x", "'x'"), ("node=99999999999999999999", "node=0"),
      ("hugepages", "2M, 1G, thp or off"), ("hugepages=on", "'on'"), ("", "''"), ("numa=0", "'numa=0'"),
    ])
  func wrongMemory(_ option: String, _ text: String) {
    let error = #expect(throws: (any Error).self) { try MemoryArgument("1G,\(option)") }
    #expect("\(error.map { "\($0)" } ?? "")".contains(text))
  }

  @Test("--cpu-pin takes pairs of a vCPU and a host processor")
  func pins() throws {
    #expect(try CPUPinArgument("0:2,1:3").pins == [0: 2, 1: 3])
    #expect(try CPUPinArgument("7:0").pins == [7: 0])
    #expect(try CPUPinArgument("0:1,1:1").pins == [0: 1, 1: 1], "two vCPUs may share one processor")
    #expect(CPUPinArgument().pins.isEmpty)
  }

  @Test(
    "an invalid pair is refused",
    arguments: ["", "0", "0:", ":1", "0:1,", "0:1:2", "0-1", "a:1", "0:-1", "0:+1", "0: 1", "0:1,0:2"])
  func badPins(_ text: String) {
    #expect(throws: ValidationError.self) { try CPUPinArgument(text) }
  }

  @Test("a device in another process is a path, has no IOMMU options, and is no operand of 'bind'")
  func server() throws {
    let device = try DeviceArgument("vfio-user:/run/a.sock,port,bar-map=eager")
    #expect(device.address == .server("/run/a.sock") && device.hasPort)
    #expect(device.assigned.address.description == "vfio-user:/run/a.sock")
    #expect(device.assigned.policies.barMap == .eager)
    let long = String(repeating: "x", count: DeviceName.maxPath)
    #expect(try DeviceArgument("vfio-user:" + long).address == .server(long))
    for text in ["vfio-user:", "vfio-user:a b", "vfio-user:\u{e9}", "vfio-user:x" + long] {
      let error = #expect(throws: ValidationError.self) { try DeviceArgument(text) }
      #expect(error?.message.contains("has no usable path; give the path of a socket") == true)
    }
    for option in ["peer-dma=off", "vf-token=2ab74924-c335-45f4-9b16-8569e5b08258"] {
      let error = #expect(throws: ValidationError.self) { try DeviceArgument("vfio-user:/a,\(option)") }
      #expect(error?.message.hasSuffix("'vfio-user:/a' is in another process; leave the option out") == true)
    }
    #expect(throws: ValidationError.self) { try DeviceArgument.hostAddress("vfio-user:/a") }
  }

  @Test("private memory with a device in another process is wrong usage")
  func privateMemory() throws {
    func run(_ memory: String) throws -> Configuration {
      let arguments = ["--kernel", "k", "--memory", memory, "--device", "vfio-user:/a"]
      return try RunCommand.parse(arguments).configuration()
    }
    let error = #expect(throws: ValidationError.self) { try run("64M,hugepages=thp") }
    #expect(
      error?.message
        == "--memory: transparent huge pages are private memory, which the process of vfio-user:/a cannot access; leave "
        + "hugepages=thp out, or give hugepages=2M")
    let later = #expect(throws: ValidationError.self) {
      try RunCommand.parse(["--kernel", "k", "--memory", "64M,shared,hugepages=thp"]).configuration()
    }
    #expect(
      later?.message.contains("which the process of a device cannot access; leave hugepages=thp out") == true)
    let shared = try RunCommand.parse(["--kernel", "k", "--memory", "64M,shared"]).configuration()
    #expect(shared.sharableBacking == .memfd && shared.canHaveServers)
    #expect(try !RunCommand.parse(["--kernel", "k", "--memory", "64M"]).configuration().canHaveServers)
    #expect(try run("64M").sharableBacking == .memfd)
    #expect(try run("64M,hugepages=2M").sharableBacking == .hugePages(shift: 21))
  }

  @Test("a device is an address, and unknown options after it are refused")
  func device() throws {
    #expect(try DeviceArgument("01:00.0").address.address == Address("0000:01:00.0"))
    let option = #expect(throws: ValidationError.self) {
      try DeviceArgument("0000:01:00.0,no-such-option=1")
    }
    #expect(option?.message.contains("'no-such-option=1'") == true)
    let address = #expect(throws: ValidationError.self) { try DeviceArgument("nvme0") }
    #expect(address?.message.contains("'nvme0'") == true)
  }
}

@Suite struct RunArgumentsTests {
  @Test("a run with only a kernel has the defaults listed by --help")
  func defaults() throws {
    let command = try RunCommand.parse(["--kernel", "k"])
    #expect(command.kernel == "k" && command.initrd == nil && command.append == "" && command.cpus == 1)
    #expect(command.memory.bytes == 512 << 20)
    #expect(command.devices.isEmpty && command.trace == nil && command.sandbox.layers == LayerChoice())
    #expect(!command.summary && !command.debugExit && !command.printSeccomp)
  }

  @Test("every option sets its property")
  func options() throws {
    let command = try RunCommand.parse([
      "--kernel", "k", "--initrd", "i", "--append", "console=ttyS0 panic=1", "--memory", "2G", "--cpus", "4",
      "--device", "0000:01:00.0", "--device", "02:00.1", "--trace", "t", "--summary", "--debug-exit",
      "--sandbox", "off", "--cpu-pin", "3:0", "--stop-timeout", "90",
    ])
    #expect(command.initrd == "i" && command.append == "console=ttyS0 panic=1" && command.trace == "t")
    #expect(command.memory.bytes == 2 << 30 && command.cpus == 4 && command.sandbox.layers == .none)
    #expect(command.devices.map(\.address.description) == ["0000:01:00.0", "0000:02:00.1"])
    #expect(try command.configuration().stopTimeout == 90)
    #expect(command.summary && command.debugExit && command.cpuPin.pins == [3: 0])
  }

  @Test(
    "the error for wrong usage names the option",
    arguments: [
      ([], "--kernel"), (["--kernel", "k", "--memory", "lots"], "lots"),
      (["--kernel", "k", "--memory", "0"], "--memory"), (["--kernel", "k", "--cpus", "0"], "--cpus"),
      (["--kernel", "k", "--cpus", "256"], "--cpus"), (["--kernel", "k", "--device", "nvme0"], "nvme0"),
      (["--kernel", "k", "--device", "01:00.0", "--device", "0000:01:00.0"], "named twice"),
      (["--kernel", "k", "--sandbox", "maybe"], "maybe"),
      (["--kernel", "k", "--cpus", "2", "--cpu-pin", "0:1,2:3"], "vCPU 2: the VM has only vCPUs 0 to 1"),
      (["--kernel", "k", "--stop-timeout", "0"], "'0' is not a time in seconds; give 1 to 86400"),
      (["--kernel", "k", "--stop-timeout", "1m"], "'1m' is not a time in seconds"),
      (["--kernel", "k", "--cpu-pin", "0"], "0:2,1:3"), (["--kernel", "k", "--no-such"], "--no-such"),
    ] as [([String], String)])
  func usage(_ arguments: [String], _ text: String) {
    let error = #expect(throws: (any Error).self) { try RunCommand.parse(arguments).configuration() }
    guard let error else { return }
    #expect(RunCommand.exitCode(for: error) == .validationFailure)
    #expect(RunCommand.fullMessage(for: error).contains(text))
  }

  @Test("a device's options set its policies and token")
  func policies() throws {
    let plain = try DeviceArgument("01:00.0")
    #expect(plain.policies == DevicePolicies())
    let device = try DeviceArgument(
      "01:00.0,bar-map=eager,peer-dma=off,peer-dma=on-enable@02:00.1,memory-bit=shadow,"
        + "vf-token=2AB74924-c335-45f4-9b16-8569e5b08258")
    #expect(device.token == "2AB74924-c335-45f4-9b16-8569e5b08258")
    var expected = DevicePolicies()
    expected.barMap = .eager
    expected.peerDMA = .off
    expected.peers = ["0000:02:00.1": .mapped(.onEnable)]
    expected.memoryBit = .shadow
    #expect(device.policies == expected)
    #expect(try !device.hasPort && DeviceArgument("01:00.0,port").assigned.hasPort)
  }

  @Test("the windows of a port are two powers of two")
  func portWindow() throws {
    #expect(try PortWindowArgument("16M,64G").size == PortWindow(memory32: 16 << 20, memory64: 64 << 30))
    for (argument, text) in [
      ("16M", "is not two sizes"), ("16M,64G,1M", "is not two sizes"),
      ("3M,1G", "'3M' is not a power of two"),
      ("1M,512K", "'512K' is not a power of two"), ("x,1G", "'x' is not a size"),
    ] {
      let error = #expect(throws: (any Error).self) { try PortWindowArgument(argument) }
      #expect("\(error.map { "\($0)" } ?? "")".contains(text))
    }
  }

  @Test(
    "the error for a wrong device option names it and the valid ones",
    arguments: [
      ("bar-map=off", "policy 'off'; give on-fault"), ("bar-map", "bar-map"), ("peer-dma=", "peer-dma"),
      ("peer-dma=off@nvme0", "nvme0"), ("memory-bit=on", "policy 'on'; give forward"),
      ("vf-token=1234", "'1234' is not a UUID"), ("vf-token=", "is not a UUID"),
      ("vf-token=2ab74924-c335-45f4-9b16-8569e5b0825g", "is not a UUID"),
      ("vf-token=2ab74924c33545f49b168569e5b08258", "is not a UUID"), ("x-no=1", "bar-map=, peer-dma="),
      ("reconnect=1", "is a device of the host"), ("", "is not a device option"),
      ("port=1", "'port=1' is not a device option"),
    ])
  func wrongPolicy(_ option: String, _ text: String) {
    let error = #expect(throws: (any Error).self) { try DeviceArgument("01:00.0,\(option)") }
    #expect("\(error.map { "\($0)" } ?? "")".contains(text))
  }

  @Test("reconnect= needs a port, and a time from 1 to 3600 s", arguments: ["0", "3601", "x", ""])
  func reconnect(_ time: String) throws {
    #expect(throws: (any Error).self) { try DeviceArgument("vfio-user:/s,port,reconnect=\(time)") }
    let device = try DeviceArgument("vfio-user:/s,port,reconnect=3600")
    #expect(device.assigned.reconnect == 3600 && device.assigned.hasPort)
    let error = #expect(throws: (any Error).self) {
      try RunCommand.parse(["--kernel", "k", "--device", "vfio-user:/s,reconnect=2"]).configuration()
    }
    #expect(error.map { RunCommand.fullMessage(for: $0) }?.contains("port,reconnect=SECONDS") == true)
  }

  @Test("a policy for a peer that is not in the VM is refused")
  func unknownPeer() {
    let error = #expect(throws: (any Error).self) {
      try RunCommand.parse(["--kernel", "k", "--device", "01:00.0,peer-dma=off@02:00.0"]).configuration()
    }
    guard let error else { return }
    #expect(RunCommand.fullMessage(for: error).contains("0000:02:00.0"))
  }

  @Test("--print-seccomp needs no kernel")
  func printSeccomp() throws {
    #expect(try RunCommand.parse(["--print-seccomp"]).printSeccomp)
  }

  @Test("--sandbox leaves layers out and requires layers")
  func layers() throws {
    #expect(try SandboxArgument("on").layers == LayerChoice())
    #expect(try SandboxArgument("off").layers.layers == [.guestMemory])
    #expect(
      try SandboxArgument("no-landlock,namespaces").layers
        == LayerChoice(leftOut: [.landlock], required: [.namespaces]))
  }

  @Test(
    "a wrong --sandbox names the layer",
    arguments: [
      ("maybe", "'maybe' is not a layer"), ("no-core dumps", "'no-core dumps' is not a layer"),
      ("landlock,no-landlock", "landlock: named twice"), ("", "'' is not a layer"),
      ("no-no_new_privs", "landlock needs no_new_privs"),
      ("no-no_new_privs,no-landlock", "seccomp needs no_new_privs"),
    ])
  func wrongLayers(_ argument: String, _ text: String) {
    let error = #expect(throws: ValidationError.self) { try SandboxArgument(argument) }
    #expect(error?.message.hasPrefix(text) == true, "\(error?.message ?? "none")")
  }
}

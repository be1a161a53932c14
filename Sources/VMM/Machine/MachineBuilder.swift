// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import VFIO

/// A complete machine before its first instruction.
struct MachineBuilder<B: HostBackend> {
  let machine: VirtualMachine
  let memory: GuestMemory
  let cpus: [VirtualCPU]
  let devices: AssignedDevices<B>
  let serial: Serial
  let powerButton: PowerButton
  let root: RootBus<B>

  /// Builds a machine. The checks that access no device come first.
  init(
    _ configuration: Configuration, files: HostFiles, eventLog: EventLog,
    output: @escaping @Sendable (UInt8) -> Bool
  ) throws(RunError) {
    let system = try step(RunError.system) { () throws(KVMError) in try files.system() }
    if configuration.cpus > system.cpuLimit {
      throw .host(.cpuCount(configuration.cpus, limit: system.cpuLimit))
    }
    try HostResources().check(configuration)
    let ready = try B.check(configuration.devices, files: files)
    if let problem = DeviceWindows.startProblem(ready, pageSize: configuration.backing.pageSize) {
      throw .host(problem)
    }
    let reserved = ready.flatMap(\.reserved)
    let memory = try step(RunError.memory) { () throws(GuestMemory.AllocationError) in
      try GuestMemory(
        size: configuration.memory, backing: configuration.backing, node: configuration.memoryNode,
        holes: reserved)
    }
    self.memory = memory
    let features = try step(RunError.kernel) { () throws(KernelError) in
      try CPUFeatures(system, cpus: configuration.cpus, isNested: configuration.isNested)
    }
    let machine: VirtualMachine
    (machine, cpus, serial, powerButton) = try Self.machine(
      system, memory: memory, features: features, count: configuration.cpus, output: output)
    eventLog.phase("machine-made")
    let bootCPU = cpus[0]
    let entry = try step(RunError.boot) { () throws(BootError) in
      try files.loadKernel(
        configuration,
        commandLine: KernelCommandLine.text(configuration.commandLine, frequency: bootCPU.timeStampFrequency),
        memory: memory)
    }
    try step(RunError.kernel) { () throws(KernelError) in
      try bootCPU.setState(entry.initialState)
    }
    eventLog.phase("kernel-loaded")
    self.machine = machine
    let slots = MemorySlots(
      machine, limit: system.memorySlotCount, reserved: memory.regions.count,
      platform: PlatformLayout.trapped)
    devices = try AssignedDevices(
      configuration.devices, ready: ready, machine: machine, slots: slots, routeLimit: system.routeCount,
      memory: memory, iommu: configuration.iommu, files: files, eventLog: eventLog)
    root = RootBus(
      functions: devices.functions, guestSlots: devices.guestSlots, decoder: devices.context?.decoder)
    let window = try Self.placeBARs(
      devices, memory: memory, addressBits: features.addressBits, reserved: reserved)
    let cpuCount = configuration.cpus
    try step(RunError.boot) { () throws(BootError) in
      _ = try ACPI.install(
        Platform(cpus: cpuCount, pciWindow64: window, devices: PortOwner.platformDevices), in: memory)
      try ResetVector.install(in: memory)
    }
    eventLog.phase("devices-ready")
  }

  private static func machine(
    _ system: borrowing KVMSystem, memory: GuestMemory, features: CPUFeatures, count: Int,
    output: @escaping @Sendable (UInt8) -> Bool
  ) throws(RunError) -> (VirtualMachine, [VirtualCPU], Serial, PowerButton) {
    do throws(KernelError) {
      let machine = try VirtualMachine(
        system, identityMap: PlatformLayout.identityMap, taskState: PlatformLayout.taskState)
      for (slot, region) in memory.regions.enumerated() {
        try machine.setMemory(
          slot: UInt32(slot), at: region.base, size: region.size, host: region.hostAddress)
      }
      let serial = try Serial(output: output)
      try machine.connect(event: serial.interrupt.number, toInterrupt: Serial.gsi)
      let powerButton = try PowerButton()
      try machine.connect(event: powerButton.interrupt.number, toInterrupt: PlatformLayout.powerButtonGSI)
      var cpus: [VirtualCPU] = []
      for index in 0..<count { cpus.append(try VirtualCPU(machine, index: index, features: features)) }
      return (machine, cpus, serial, powerButton)
    } catch { throw .kernel(error) }
  }

  /// Assigns an address to every BAR. Returns the range of 64-bit addresses for BARs, which the ACPI tables
  /// report.
  private static func placeBARs(
    _ devices: AssignedDevices<B>, memory: GuestMemory, addressBits: Int, reserved: [ClosedRange<UInt64>]
  ) throws(RunError) -> Range<UInt64> {
    let bars = devices.functions.flatMap(\.bars)
    let largest = bars.map(\.size).max() ?? 0
    let start = max(GuestMemory.holeEnd, memory.regions.last?.end.rawValue ?? 0)
      .roundedUp(to: max(1 << 30, largest))
    let end = min(1 << UInt64(addressBits), devices.ioLimit)
    let window = DeviceWindows.largest(start..<max(start, end), without: reserved)
    var allocator = BARAllocator(
      io: PlatformLayout.ioWindow, memory32: PlatformLayout.pciWindow32, memory64: window)
    let addresses: [UInt64]
    do throws(BARAllocator.NoRoom) { addresses = try allocator.allocate(bars) } catch {
      let owners = devices.functions.flatMap { function in function.bars.map { (function.address, $0) } }
      let (device, bar) = owners[error.position]
      throw .host(
        .noRoom(device: device, bar, in: DeviceWindows.range(of: bar.kind, memory64: window)))
    }
    var next = 0
    for (function, slot) in zip(devices.functions, devices.guestSlots) {
      let own = Array(addresses[next..<next + function.bars.count])
      next += function.bars.count
      try step(RunError.function) { () throws(FunctionError) in
        try function.attach(
          own, function: slot.index, isMultifunction: slot.isShared,
          gsi: PlatformLayout.gsi(slot: slot.slot, pin: function.interruptPin ?? 0))
      }
    }
    return window
  }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import Logging
import PCI
import Sandbox
import VMM

/// `sluice run`.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Boots a kernel, with host devices.",
    discussion: """
      COM1 is on standard input and output; Ctrl-A x ends the VM, Ctrl-A Ctrl-A sends Ctrl-A.

      DEVICE OPTIONS:
        bar-map=on-fault    A window of a BAR is mapped when the guest first touches it: the default, for a
                            fast start and the smallest exposure.
        bar-map=on-enable   All windows are mapped when the guest enables the device's memory: for drivers
                            whose first access must not pay for an exit.
        bar-map=eager       The same, and again at once after a BAR was moved: to compare with monitors
                            that always map.
        peer-dma=on-fault   Other devices of the VM reach a window once the guest has touched it: the
                            default; a peer that comes earlier takes an IOMMU fault.
        peer-dma=on-enable  They reach all windows from the moment that memory is enabled: for peers that
                            use memory which no CPU touches.
        peer-dma=eager      The same, and again at once after a BAR was moved: for peers that go on
                            while a driver moves BARs.
        peer-dma=off        They never reach it: for devices that are not to trust each other.
                            'peer-dma=POLICY@ADDRESS' says so for one peer; devices that are to reach
                            different things get I/O address spaces of their own, each with guest RAM.
        memory-bit=forward  The guest's memory-enable bit is written to the device: the default, and what
                            a driver under test expects.
        memory-bit=shadow   The guest's bit rules the gate while the device's stays set: for devices
                            that do not survive having it cleared.
        vf-token=UUID       The token that the owner of the physical function has set: for a virtual function
                            whose physical function VFIO has, too.

      MEMORY OPTIONS:
        hugepages=2M|1G     Huge pages of the host's pool, reserved before the start: the fewest TLB misses and
                            the smallest IOMMU tables; what is not there is an error.
        hugepages=thp       Transparent huge pages where the host finds some; nothing has to be reserved. That is
                            the default too, but that a host which has them off is no error then.
        hugepages=off       Shared memory in pages of 4 KiB: for hosts that must not spend a huge page on the few
                            bytes that a guest without devices touches.
        prealloc            All pages are populated by several threads while the guest starts: for guests that
                            must not wait for memory later. Memory for a guest with devices always is.
        node=N              All of it comes from NUMA node N of the host: for devices that sit there
                            ('cat /sys/bus/pci/devices/ADDRESS/numa_node'); put the vCPUs there with --cpu-pin.

      EXAMPLES:
        sluice run --kernel vmlinuz --initrd initrd --append 'console=ttyS0 panic=1' \\
          --memory 2G --cpus 4 --device 0000:01:00.0 --device 0000:02:00.0
        sluice run --kernel vmlinuz --memory 64G,hugepages=1G,prealloc,node=1 --cpus 2 --cpu-pin 0:32,1:33 \\
          --device 0000:81:00.0
        sluice run --kernel guest.elf --debug-exit --device 01:00.0 --trace trace.json --summary
      """)

  @Option(
    help: ArgumentHelp(
      "A bzImage (boot protocol 2.12 or newer), an ELF file with a PVH note, or a multiboot kernel.",
      valueName: "file"))
  var kernel: String?

  @Option(help: ArgumentHelp("The initial RAM disk.", valueName: "file"))
  var initrd: String?

  @Option(help: ArgumentHelp("The kernel's command line.", valueName: "text"))
  var append = ""

  @Option(
    help: ArgumentHelp(
      "Guest memory, with K, M, G or T (default: 512M), with options (see MEMORY OPTIONS).",
      valueName: "size[,option...]"),
    transform: MemoryArgument.init)
  var memory = MemoryArgument()

  @Option(help: ArgumentHelp("The number of vCPUs, 1 to 255.", valueName: "count"))
  var cpus = 1

  @Option(
    help: ArgumentHelp(
      "Keeps vCPUs on processors of the host, by their numbers in 'lscpu -e'.", valueName: "vcpu:cpu,..."),
    transform: CPUPinArgument.init)
  var cpuPin = CPUPinArgument()

  @Option(
    name: .customLong("device"),
    help: ArgumentHelp(
      "A host device by its PCI address, bound to vfio-pci, with options (see DEVICE OPTIONS); may be given again.",
      valueName: "address[,option=value...]"),
    transform: DeviceArgument.init)
  var devices: [DeviceArgument] = []

  @Option(
    help: ArgumentHelp("Write a JSON object per line for all that happens to devices.", valueName: "file"))
  var trace: String?

  @Flag(help: "Print at the end what each device did, and the time of each phase.")
  var summary = false

  @Flag(help: "End with status 2V+1 when the guest writes V to port 0xf4.")
  var debugExit = false

  @Flag(help: "Show the guest VMX or SVM, so that it can run virtual machines itself.")
  var nested = false

  @Option(
    help: ArgumentHelp(
      "'off' runs without seccomp and with all capabilities, for debugging.", valueName: "on|off"))
  var sandbox: Sandboxing = .on

  @Flag(
    help:
      "Print the layers of confinement and the system calls of each kind of thread, with reasons, and end.")
  var printSeccomp = false

  /// `--sandbox`.
  enum Sandboxing: String, ExpressibleByArgument { case on, off }

  func configuration() throws -> Configuration {
    var configuration = Configuration(kernel: try required(kernel, "--kernel: name the kernel image to boot"))
    configuration.initrd = initrd
    configuration.commandLine = append
    configuration.memory = memory.bytes
    configuration.backing = memory.backing
    configuration.memoryNode = memory.node
    configuration.isPreallocated = memory.isPreallocated
    configuration.cpus = cpus
    configuration.cpuPins = cpuPin.pins
    configuration.devices = devices.map {
      Configuration.AssignedDevice(address: $0.address, policies: $0.policies, token: $0.token)
    }
    configuration.trace = trace
    configuration.printsSummary = summary
    configuration.hasDebugExit = debugExit
    configuration.isSandboxed = sandbox == .on
    configuration.isNested = nested
    if let problem = configuration.usageProblem { throw ValidationError(problem.message) }
    return configuration
  }

  // There is no validate(): the parser calls it before it reports an option that does not exist.
  mutating func run() throws {
    if printSeccomp {
      print(Rule.describe(isSandboxed: sandbox == .on), terminator: "")
      return
    }
    let configuration = try self.configuration()
    let start = Clock.programStart()
    do throws(KernelError) { try InheritedDescriptors.close(except: configuration.files) } catch {
      throw failure(error.description)
    }
    let log = Logger(label: "sluice") { _ in ErrorStreamHandler() }
    let outcome: Outcome
    do throws(RunError) {
      outcome = try VMSession(configuration, log: log, start: start).run { failure in
        log.error("\(failure.message)")
      }
    } catch { throw failure(error.message) }
    if case .failure(let cause) = outcome { throw failure(cause.message) }
    endProcess(outcome.exitStatus(hasDebugExit: debugExit))
  }

  private func failure(_ cause: String) -> CommandFailure {
    CommandFailure(cause, status: Outcome.failureStatus(hasDebugExit: debugExit))
  }
}

/// Messages on standard error, one line each, with no time zone or locale to look up.
struct ErrorStreamHandler: LogHandler {
  var logLevel: Logger.Level = .info
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    writeStandardError("sluice: \(event.level): \(event.message)\n")
  }
}
